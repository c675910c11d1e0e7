// Progress of long steps on standard error: a spinner on a terminal, a line for each step elsewhere.
import ora from 'ora'

/** @returns {{ report: (text: string) => void, stop: () => void }} */
export function progress(quiet = false) {
  const spinner = ora({ isSilent: quiet, discardStdin: false, hideCursor: false })
  return {
    report: (text) => {
      if (spinner.isEnabled) spinner.start(text)
      else if (!quiet) process.stderr.write(`- ${text}\n`)
    },
    stop: () => {
      if (spinner.isSpinning) spinner.stop()
    },
  }
}
