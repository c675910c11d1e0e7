/** Numbers what a driver has seen of a configuration space, so that it can tell one that changed between two reads (2.5.1). */
export class ConfigGeneration {
  #number = 0
  #seen: Uint8Array

  constructor(config: Uint8Array) {
    this.#seen = config.slice()
  }

  /** 32 bits: another number than last time if the space has changed since. */
  of(config: Uint8Array): number {
    if (!config.every((byte, i) => byte === this.#seen[i])) {
      this.#number = (this.#number + 1) >>> 0
      this.#seen = config.slice()
    }
    return this.#number
  }
}
