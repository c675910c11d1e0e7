// What the tests of one suite came to: the lines of results-reporter.mjs, of one run or several.
import { existsSync, readFileSync } from 'node:fs'

/**
 * Of a test that ran twice the later result counts; being left out of a later run is none.
 * @param {string} path the reporter's file
 * @returns what was done, the names of the tests that have no end yet (`running`) and the files that have none (`undone`)
 */
export function readResults(path) {
  const tests = new Map()
  const files = new Map()
  const planned = new Set()
  const begun = new Map()
  let ended = false
  const unhandled = []
  for (const line of existsSync(path) ? readFileSync(path, 'utf8').split('\n') : []) {
    const result = parse(line)
    // Several tests of a file may have one name.
    const key = `${result?.file}\n${result?.id}`
    if (result?.kind === 'test' && !(result.state === 'skipped' && tests.has(key))) {
      tests.set(key, result)
    }
    if (result?.kind === 'begin') begun.set(key, result.name)
    else begun.delete(key)
    for (const file of result?.kind === 'plan' ? result.files : []) planned.add(file)
    if (result?.kind === 'file') files.set(result.file, result)
    else if (result?.kind === 'end') {
      ended = true
      unhandled.push(...result.errors)
    }
  }
  return {
    tests: [...tests.values()],
    files: [...files.values()],
    running: [...begun.values()],
    undone: [...planned].filter((file) => !files.has(file)),
    ended,
    unhandled,
  }
}

/** The last line may be cut short. */
function parse(line) {
  try {
    return JSON.parse(line)
  } catch {
    return undefined
  }
}

/** Counts. A file that does not load, an error outside of any test and a run without an end count as one failure each. */
export function count({ tests, files, ended, unhandled }) {
  const of = (state) => tests.filter((test) => test.state === state).length
  const others = files.filter(({ errors }) => errors.length > 0).length + unhandled.length
  return {
    passed: of('passed'),
    failed: of('failed') + others + (ended ? 0 : 1),
    skipped: tests.length - of('passed') - of('failed'),
  }
}

/** What failed, and the first line of why, one of each a line: whoever reads only the end of a log has it. */
export function failures({ tests, files, ended, unhandled }) {
  const first = (error) => String(error?.message ?? error).split('\n', 1)[0]
  return [
    ...tests
      .filter(({ state }) => state === 'failed')
      .map(({ file, name, errors }) => `${file}: ${name}: ${first(errors[0])}`),
    ...files.flatMap(({ file, errors }) => errors.map((error) => `${file}: ${first(error)}`)),
    ...unhandled.map((error) => `outside of any test: ${first(error)}`),
    ...(ended ? [] : ['the run has no end']),
  ]
}

/**
 * Tests that failed for nothing but a time limit: what a guest that the emulator deadlocked looks like, and the one
 * thing that is worth another try there.
 */
export function stalledTests({ tests }) {
  const timedOut = ({ code, message }) =>
    code === 'ERR_TIMEOUT' || /^(Test|Hook) timed out in \d+ms/.test(message)
  return tests.filter(
    ({ state, errors }) => state === 'failed' && errors.length > 0 && errors.every(timedOut),
  )
}
