/** A job of fio in a guest, on one block device. */
export interface FioJob {
  readonly name: string
  readonly rw: 'randread' | 'randwrite' | 'read' | 'write' | 'randrw'
  /** As fio takes it: `4k`. */
  readonly blockSize: string
  readonly depth: number
}

/** From the fields of fio's terse output, version 3: counted from 1, as awk does. */
const READ = { kilobytes: 7, operations: 8 }
const WRITE = { kilobytes: 48, operations: 49 }

const jobOptions = ({ name, rw, blockSize, depth }: FioJob) =>
  `--name=${name} --rw=${rw} --bs=${blockSize} --iodepth=${depth} --stonewall`

/** Shell that goes before the others: once, as kvmtool cuts a command line off after 2048 bytes. */
export const FIO_SETTINGS =
  "fio='/programs/bin/fio --minimal --direct=1 --ioengine=libaio --thread --randrepeat=0 --norandommap'"

/**
 * Shell for a guest that runs the jobs one after the other for `seconds` each and says `RESULT NAME VALUE` for each:
 * operations per second of the 4 KiB jobs, MB/s of the others.
 */
export function fioScript(device: string, jobs: readonly FioJob[], seconds: number): string {
  const cases = jobs.map(({ name, rw, blockSize }) => {
    const field = rw.endsWith('read') ? READ : WRITE
    const value = blockSize === '4k' ? `$${field.operations}` : `$${field.kilobytes}*1.024/1000`
    return `$3=="${name}"{print "RESULT",$3,${value}}`
  })
  return `$fio --filename=${device} --time_based --runtime=${seconds} --ramp_time=1 ${jobs.map(jobOptions).join(' ')} >/tmp/fio || tail /tmp/fio
awk -F';' '${cases.join(';')}' /tmp/fio`
}

/** Shell for a guest that does so many operations of a job, or as many as it can in `seconds`. */
export const fixedFioScript = (
  device: string,
  job: FioJob,
  operations: number,
  seconds = 600,
): string =>
  `$fio --filename=${device} --number_ios=${operations} --runtime=${seconds} --size=100% ${jobOptions(job)} >/tmp/fio || tail /tmp/fio`
