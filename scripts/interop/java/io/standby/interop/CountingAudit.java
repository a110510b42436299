package io.standby.interop;

import io.aeron.cluster.service.ClientSession;
import io.aeron.logbuffer.Header;
import org.agrona.DirectBuffer;

/**
 * The reference service without its work: messages are counted and replied to, not looked at. For benches of what
 * brings messages to a service.
 */
final class CountingAudit extends Audit {
    CountingAudit() {
        super(0, null);
    }

    @Override
    public void onSessionMessage(
        final ClientSession session,
        final long timestamp,
        final DirectBuffer buffer,
        final int offset,
        final int length,
        final Header header) {
        state.onCountedMessage();
        if (session != null) {
            reply(session, buffer, offset, length);
        }
    }
}
