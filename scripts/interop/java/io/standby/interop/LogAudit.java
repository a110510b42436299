package io.standby.interop;

import java.nio.ByteOrder;

import io.aeron.cluster.client.AeronCluster;
import io.aeron.cluster.codecs.MessageHeaderDecoder;
import io.aeron.cluster.codecs.NewLeadershipTermEventDecoder;
import io.aeron.cluster.codecs.SessionCloseEventDecoder;
import io.aeron.cluster.codecs.SessionMessageHeaderDecoder;
import io.aeron.cluster.codecs.SessionOpenEventDecoder;
import io.aeron.cluster.codecs.TimerEventDecoder;
import io.aeron.logbuffer.FragmentHandler;
import io.aeron.logbuffer.Header;
import org.agrona.DirectBuffer;

/** The audit state fed straight from the cluster's log. What the service would emit is in the log already. */
final class LogAudit implements FragmentHandler {
    final LagHistogram lag = new LagHistogram();
    long position;
    long messages;

    private final AuditState state;
    private final long warmup;
    private final MessageHeaderDecoder header = new MessageHeaderDecoder();
    private final NewLeadershipTermEventDecoder newTerm = new NewLeadershipTermEventDecoder();
    private final SessionOpenEventDecoder open = new SessionOpenEventDecoder();
    private final SessionCloseEventDecoder close = new SessionCloseEventDecoder();
    private final TimerEventDecoder timer = new TimerEventDecoder();
    private long leadershipTermId = -1;

    LogAudit(final int ballastLength, final long warmup) {
        state = new AuditState(ballastLength);
        this.warmup = warmup;
    }

    @Override
    public void onFragment(final DirectBuffer buffer, final int offset, final int length, final Header frame) {
        header.wrap(buffer, offset);
        position = frame.position();
        switch (header.templateId()) {
            case SessionMessageHeaderDecoder.TEMPLATE_ID -> onMessage(
                buffer,
                offset + AeronCluster.SESSION_HEADER_LENGTH,
                length - AeronCluster.SESSION_HEADER_LENGTH);
            case TimerEventDecoder.TEMPLATE_ID ->
                state.onTimer(timer.wrapAndApplyHeader(buffer, offset, header).correlationId());
            case SessionOpenEventDecoder.TEMPLATE_ID ->
                state.onSessionOpen(open.wrapAndApplyHeader(buffer, offset, header).clusterSessionId());
            case SessionCloseEventDecoder.TEMPLATE_ID ->
                state.onSessionClose(close.wrapAndApplyHeader(buffer, offset, header).clusterSessionId());
            case NewLeadershipTermEventDecoder.TEMPLATE_ID -> {
                leadershipTermId = newTerm.wrapAndApplyHeader(buffer, offset, header).leadershipTermId();
                print();
            }
            default -> {
            }
        }
    }

    void print() {
        Out.line(Audit.line(0, position, leadershipTermId, state));
    }

    private void onMessage(final DirectBuffer buffer, final int offset, final int length) {
        state.onMessage(buffer, offset, length);
        messages++;
        if (length >= Audit.HEADER_LENGTH && messages > warmup) {
            final long sendTimeNs = buffer.getLong(offset + 8, ByteOrder.LITTLE_ENDIAN);
            if (sendTimeNs != 0) {
                lag.record(System.nanoTime() - sendTimeNs);
            }
        }
    }
}
