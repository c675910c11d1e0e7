/** What printk puts in front: `<6>`, `[    0.123456]`, and with CONFIG_PRINTK_CALLER `[    T1]`. */
const PRINTK_PREFIX = /^(?:<\d{1,3}>)?(?:\[ {0,12}\d{1,12}\.\d{6}\](?:\[ {0,12}[TC]\d{1,10}\])? )?/

export function withoutPrintkPrefix(line: string): string {
  return line.replace(PRINTK_PREFIX, '')
}
