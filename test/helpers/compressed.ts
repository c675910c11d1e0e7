import { execFileSync, spawnSync } from 'node:child_process'
import { le32 } from '../../lib/util/bits.js'

/** Text that a compressor finds something in, and not too much. The same every time. */
export function words(count: number): Uint8Array {
  const vocabulary = 'kernel initrd virtio queue guest host port page'.split(' ')
  let state = 1
  const next = (limit: number) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0
    return (state >>> 16) % limit
  }
  let text = ''
  for (let i = 0; i < count; i++) {
    text += `${vocabulary[next(8)]}${String.fromCharCode(97 + next(26))}${next(10) < 3 ? '\n' : ' '}`
  }
  return new TextEncoder().encode(text)
}

/** `words(600)` as `zstd` 1.5.4 compresses it, by level. */
export const WORDS_600: Readonly<Record<string, Uint8Array>> = {
  'level 19': decode(level19()),
  'level 1': decode(level1()),
}
/** 300,000 zeros, likewise. */
export const ZEROS_300000 = decode(['KLUv/aTgkwQAVAAAEAAAAQD7/znAAgIAEAADnwQALSjeJg=='])

function decode(base64: readonly string[]): Uint8Array {
  return Uint8Array.from(Buffer.from(base64.join(''), 'base64'))
}

/** Why the real compressors cannot be asked, or `undefined` if they can: `zstd` and `lz4` of Debian. */
export function missingCompressor(program: 'zstd' | 'lz4'): string | undefined {
  if (spawnSync(program, ['--version']).status === 0) return undefined
  return `${program} is not installed`
}

/** What the real compressor makes of `bytes`. */
export function compressWith(
  program: string,
  args: readonly string[],
  bytes: Uint8Array,
): Uint8Array {
  return Uint8Array.from(
    execFileSync(program, [...args], {
      input: bytes,
      maxBuffer: 2 ** 28,
      stdio: ['pipe', 'pipe', 'ignore'],
    }),
  )
}

/** A legacy LZ4 frame of literals only. */
export function lz4Literals(bytes: Uint8Array): Uint8Array {
  const length = bytes.length < 15 ? [bytes.length << 4] : [0xf0, ...extended(bytes.length - 15)]
  const block = Uint8Array.from([...length, ...bytes])
  const size = block.length
  return Uint8Array.from([...[0x02, 0x21, 0x4c, 0x18], ...[...le32(size)], ...block])
}

function extended(rest: number): number[] {
  return [...Array<number>(Math.floor(rest / 255)).fill(255), rest % 255]
}

function level19(): readonly string[] {
  return [
    'KLUv/WReD8UkAMZiWhGgb2BLHs2xHbP1DQAAU0GGAlQAVABVAJR/wKIWIuBEKF5RTK76CsUGq21kXwt6U5hBqvOFiMiq',
    'RcpwwIbS7KnWxBgRGYT+2FBgix2yCl6iBegV+MkTQHyEC/yR5QkPYEsP0wyOJcsX5MPmAqVZ+54dj5g7qZvviItLp61k',
    'pkhg5TXbPbWU4nRGkY+B/KM0SyLq9p96BRyjxvlUBV80mxALVw9X62XqKGJtO3YoEl0tT+V8nFnqv7/50mRvZ3sbBc6R',
    'IRWi4sq+rQiapqPrdRKIjGcN21z2FWc8RWaBno3soo9v+4qfKE9t34ZRlmqOajejSUmbMoTla4PB81YV0wpU2I+rDrKL',
    'onf8HOLmTWUgLLL2QgFhHKRmr3ZGG8aemgv5TT23iEczHBlSw4rvEilz6QmVZh9v/ke9MENOHqOueL3Zu4xUYfI9RRwu',
    'aP+VOpwSLQ09/eKQfAgbhSKHNdV0i7zc2BVD1gaCLajy0K9/DAeSIAISD1VaehsSQHDy7KAw1QGu2AwI41NJyFBpHrtg',
    'MvxIH8Ek08NgoSRNeV73X5oC8PaYJEtX1NARUbnduSEJkOMZUnC3CEmC+ole/Qc6NRNRJltZ07hNyXAkAjHVe0THmOqN',
    'SGcAGqjBLcCYcskVZcQCSCCtvQYgeZfJqRRhjpuIRGIUA8eThQko6rEOlKc4UW19XQrspVML86JTOZhNee5F38fhbUEf',
    'vG5VkoZyN+WwPsvamHVJXW/SpNTkFc3LTHVaabX5exHxCUYjkdG08M/jObmtOuRmtKHQLqJJJuhizQFu9GFHjAqrp6GJ',
    'Egv2Q/V4UcsMjJrLnQWt56GSumdmmseYBR/FXxmnPxuKXpCNaX3WlA4Woacjy2hfiadMeYH5v8seFyPPes21PYQ6NTOV',
    'yGuUJOFL7e9dO3fFFcp5EKop+UBh9HQRqPOzcLaDGJgJTxMY1IyKB/Y+HGQKBZh0Lil1DRIcxkw8GRg9s883HIngXwT2',
    'D4GrnyFKGLupb64uKCe+Y0bWkWioRjhfOU3RLWfdYAbV3WXVAYTynEMmkrlkvP7ynLjek8rHP8Ik1h99hAtjRo/fs4JD',
    'K4J5fCVlZHa6Gyrep3n4X5kRVRQUKINNI9fUG/33Xpbcn3kT5+/B3VJTT8J9lVZ/ciLLSwG8AbzzKBAPzvlXx8qCRtOF',
    'q1GOKw7utjDpgYTjctZebfA0a6PdC7r/zjhn7ERF2EPHL5gzIdWJUaeU6txaQUCibZuKmh18A0XtWcMdBSQjMYQ0VruG',
    'bP+aOXCUq/nEGDoDgtZ4B+NqUlC25P+eQJ99XWKlg1JY0udTBF/Lgt05cgGNGeNL3kkJx5rVG0d7LSf2FpdwiX8oYoHg',
    'qH6VQtnHJlObDkNANDuiYMcBPYwNIEAsZZKLM1FvbEgx18sJWxUzPt+ygAIFFZQm8RbqMAgzlPZloskym7gZRyViOQRv',
    'eGbQq8ZWZvQHE5sPhGTMz03jA8bLCgcxpSSG8lsZN5rZ0mSpEumoNhvmU5RQGNMMoyG4y124bKvIyibiWmrn0xecq8zy',
    'Xu4lqU+EmR+1IoCiDTk3k2o=',
  ]
}
function level1(): readonly string[] {
  return [
    'KLUv/WReD00oABZcShOg5QGwSS1kEd2k/Yipqmr0q3sIQwBEAEUApBu+5WuohCG89YrSEGwrk6MaWnwGAITXywe+5axS',
    'v2vET17tEth6Iw6aN+tdAuOGr2NhCN1i65aBzkhmHTs2jtAtFj6/iQKIErY3cDkqHwc4+JavYDRQqAymys91urUlWvai',
    'EAq/yWZk/0O3WNfg+GwoHEHJxxYXGlIxUYj8bTr1KYZLiUMgqFsg8DwCKHQAsTjKudCIqjQqa1AiWOo1TW9fBiAR4JhQ',
    '/pN8cWtVtEBOJtn4wMGUdSzjmNBO8s0yq8x7tdNfOL+/mDgGLFK/a8QorVIbF1pAP1TnKsbNnPJL/MISWIqhAo/DpUYY',
    'OuUJEcpQc1LDhsSAYfP6ylCIQZjH7JFrSU61kWh6mz0BA4JKqKLjbSnssx0SCTIQBosg5x4SYMBpod0BYImOE+mM3lYK',
    'WoiSMFjOLFCDl41hc3Afl8TT2rcMfjzlRk+SGTkmBqbRs8CRvGnzOClpgrJWjkWpvj5HEGhubNZIhMqe87aC33DvyB3p',
    'iSXGKSo5PNuwSfnB8tw0/RUAdzxxXNK601tb+x6m2rlbTSJ0EfwtbUOLkSo3kJXpgZ4Q1QccViIkTYvzM+KEoN9Wh6FO',
    'hNG97EvJIWcnCNG4zXPBdlV5u08ARO977IZ8r6cz9IT0lWuWUOG2GK3uPU4x3wTlQsFN0PX1uJV7edp4Qs09r4Kcks6m',
    'IB8nxgq5U8EdRmRg6qzIsjGch1OthnTadghP5KhxHLk2UrTeixfFhfx0WhBNtIQmaorw6yvEClxRDj12mkKqk/Z/e5Pp',
    'nGjSQ2xcJ1N/wuJP6SE3Az1HrQdnneNbILnxMtLGDo/g0PQeNP622mlSpEtfQNnj1pt4CVjWRRdqCovn7MGtugi1+mFe',
    'kGwuPOghrvKVslP/ipRRRH42QIe9ay2fVL9ltONrt61Y166OuhRtQreMgmjonCCPA7GnNwrQoTFw+eDB5aB9smWKTJDL',
    'KNlML+ydaHkSR+qkKIc5n6km5QjsS2g1ftluMhIN2j6zf+OjWIAEXn40+iHGrRYCoiRpReHEg3St71hUxxoyNrqpooOJ',
    'Ya0BDpcmAqlWqIWaScOIBji8E/jtCxF6CDK3RFPrvAUH958kNf5zEFOFf9uv8eZNReOEKYxMilz45x0hCA3MPPSEqD3r',
    'UQutkJDhtWlG5lzh+h9MFRykIAx8vJQeMoCejnhNAf6CfYb3/PHwDrgCoQhxDwqL1XRYipqI+pLFWDVsPu5VFB+evvE1',
    'M6KtnELgMMVOsOBzw1VflA8DgOC20eI4gdUdjfjdgsutLzRAyIKa6n/u/3pXJi0yv0nK/ILPnlYzYRtvQ0S+3Ve1jWUT',
    'W8csumSNKAhOfJJBehF6o2ldQ2dXzpo5XBnRzfaxElPV9ZpbMLjalh76yo5OYqoWNvuQdZYix9f0pspxN32D3BrAMIxg',
    'w2jWuTTJif/FY6z5BZrHLRtltU3TX+mGCNegZNsgUKT4owvcFya9eujBZx84d3oC5aBia6jNkszNYzqSAIemnsdazs2a',
    'QCCuKMP68X1Q5nwgQDlJOQdtjYAxP9JXJgl9lAfPNMs7DRGLjshuzWMC276vWzEJQQY9lnmFEGWN1AB75h82/LCCQzGt',
    'gPTWTDri841EWXNDriJpV4YsCvFiwI8JSK+x9CVeyvZIL3RCu4gUOxv+Q8wVGclmXDrJ6nCDm7UCOTeTag==',
  ]
}
