import { AgentLink } from '../agent/agent-link.js'
import { GuestAgent } from '../agent/guest-agent.js'
import { AGENT_PORT, RESERVED_PORTS_END } from '../agent/protocol.js'
import { VmmError } from '../errors.js'
import type { VmVsock } from './device-handles.js'
import type { MachineConfig } from './machine-config.js'

/** Takes the connections of a guest's agent, if the machine is to have one. */
export function openAgent(config: MachineConfig, vsock: VmVsock | undefined) {
  if (!config.agent || !vsock) return { agent: undefined, endAgent: () => {} }
  const link = new AgentLink()
  vsock.listen(AGENT_PORT, (stream) => {
    // Only root of the guest can connect from there: no other user of it plays the agent.
    if (stream.remotePort < RESERVED_PORTS_END) link.attach(stream)
    else stream.destroy()
  })
  return {
    agent: new GuestAgent(link, config.agent.startTimeout),
    endAgent: (reason: string) => {
      link.end(new VmmError('ERR_AGENT', `the guest has ended: ${reason}`))
    },
  }
}
