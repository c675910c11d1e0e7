// A vitest reporter that appends a line of JSON for each test, each file and the run as they end, so that what was done
// is known even if the run does not come to its end. The file's path is in NODE_KVM_RESULTS.
import { appendFileSync } from 'node:fs'
import { relative } from 'node:path'

// biome-ignore lint/style/noDefaultExport: vitest looks for a reporter there.
export default class ResultsReporter {
  onTestRunStart(specifications) {
    const files = specifications.map(({ moduleId }) => relative(process.cwd(), moduleId))
    write({ kind: 'plan', files })
  }

  onTestCaseReady(test) {
    write({ kind: 'begin', file: fileOf(test.module), id: test.id, name: test.fullName })
  }

  onTestCaseResult(test) {
    const { state, errors = [] } = test.result()
    write({
      kind: 'test',
      file: fileOf(test.module),
      id: test.id,
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
