import type { AddressInfo } from 'node:net'
import { invalidOption } from '../errors.js'
import type { VirtualMachine } from '../machine/virtual-machine.js'
import { metricsText } from './metrics.js'

/** What {@link serveMetrics} takes. */
export interface MetricsServerOptions {
  /** Machines to tell of, asked for at each request. */
  machines: () => Iterable<VirtualMachine>
  /** 0 to 65535; 0, the default, is any that is free. */
  port?: number
  /** The address to listen on: `'127.0.0.1'`, this machine alone, unless told. */
  host?: string
}

/** What serves metrics. It keeps no process alive. */
export interface MetricsServer extends AsyncDisposable {
  /** Where it listens. */
  readonly port: number
  /** Resolves when nothing of it is left. */
  close(): Promise<void>
}

/**
 * Serves {@link metricsText} at `/metrics` for Prometheus to scrape.
 * @example `await serveMetrics({ machines: () => [vm], port: 9464 })`
 * @throws VmmError `ERR_INVALID_OPTION`; Error if it cannot listen there
 */
export async function serveMetrics(options: MetricsServerOptions): Promise<MetricsServer> {
  const { machines, port = 0, host = '127.0.0.1' } = options
  if (typeof machines !== 'function') {
    throw invalidOption('machines', machines, 'a function that gives the machines')
  }
  if (!Number.isInteger(port) || port < 0 || port > 65535) {
    throw invalidOption('port', port, 'a whole number from 0 to 65535')
  }
  if (typeof host !== 'string' || host === '') throw invalidOption('host', host, 'an address')
  // Loaded when it is asked for, as it takes longer than the rest of a guest's start.
  const { createServer } = await import('node:http')
  const server = createServer((request, response) => {
    if (request.method !== 'GET' || request.url !== '/metrics') {
      response.writeHead(404).end('There is /metrics.\n')
      return
    }
    metricsText(machines()).then(
      (text) => {
        response.writeHead(200, { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' })
        response.end(text)
      },
      (error: Error) => response.writeHead(500).end(`${error.message}\n`),
    )
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, resolve)
  })
  server.unref()
  const close = () =>
    new Promise<void>((resolve) => {
      server.close(() => resolve())
      server.closeAllConnections()
    })
  const { port: bound } = server.address() as AddressInfo
  return { port: bound, close, [Symbol.asyncDispose]: close }
}
