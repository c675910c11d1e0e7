// A vitest reporter that appends a line of JSON for each test, each file and the run as they end, so that what was done
// is known even if the run does not come to its end. The file's path is in NODE_KVM_RESULTS.
import { appendFileSync } from 'node:fs'

// biome-ignore lint/style/noDefaultExport: vitest looks for a reporter there.
export default class ResultsReporter {
  onTestCaseResult(test) {
    const { state, errors = [] } = test.result()
    write({
      kind: 'test',
      file: fileOf(test.module),
      name: test.fullName,
      state,
      errors: errors.map(brief),
    })
  }

  onTestModuleEnd(module) {
    write({ kind: 'file', file: fileOf(module), errors: module.errors().map(brief) })
  }

  onTestRunEnd(_modules, unhandledErrors) {
    write({ kind: 'end', errors: unhandledErrors.map(brief) })
  }
}

const fileOf = (module) => module.relativeModuleId
const brief = ({ name, code, message }) => ({ name, code, message })
const write = (line) => appendFileSync(process.env.NODE_KVM_RESULTS, `${JSON.stringify(line)}\n`)
