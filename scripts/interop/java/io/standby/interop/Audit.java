package io.standby.interop;

import java.nio.ByteOrder;
import java.util.concurrent.TimeUnit;

import io.aeron.ExclusivePublication;
import io.aeron.Image;
import io.aeron.Publication;
import io.aeron.cluster.codecs.CloseReason;
import io.aeron.cluster.service.ClientSession;
import io.aeron.cluster.service.Cluster;
import io.aeron.cluster.service.ClusteredService;
import io.aeron.logbuffer.Header;
import org.agrona.DirectBuffer;
import org.agrona.concurrent.UnsafeBuffer;

/** The reference service {@code audit} as a clustered service of a member. */
class Audit implements ClusteredService {
    static final int COMMAND_TIMER = 1;
    static final int COMMAND_SERVICE_MESSAGE = 2;
    static final int COMMAND_SERVICE_MESSAGE_BACK = 3;
    static final int HEADER_LENGTH = 16;

    /** How often a reply to a slow client is tried; the cluster must not wait for one client. */
    private static final int REPLY_ATTEMPTS = 100;
    private static final int REPLY_LENGTH = 32;

    protected Cluster cluster;
    protected int serviceId;

    protected final AuditState state;

    private final LagHistogram lag;
    private final UnsafeBuffer reply = new UnsafeBuffer(new byte[REPLY_LENGTH]);
    private UnsafeBuffer outgoing = new UnsafeBuffer(new byte[1024]);
    private long leadershipTermId = -1;
    private long snapshotDelayNs;

    /**
     * @param ballastLength bytes of ballast, a multiple of 8.
     * @param lag           where the apply lag goes, or null.
     */
    Audit(final int ballastLength, final LagHistogram lag) {
        state = new AuditState(ballastLength);
        this.lag = lag;
    }

    /** Makes each snapshot take so much longer, as a big state would. */
    final void delaySnapshots(final long delayNs) {
        snapshotDelayNs = delayNs;
    }

    @Override
    public void onStart(final Cluster cluster, final Image snapshotImage) {
        this.cluster = cluster;
        serviceId = cluster.context().serviceId();
        if (snapshotImage != null) {
            AuditSnapshot.load(state, snapshotImage, cluster.idleStrategy());
        }
        print();
    }

    @Override
    public void onSessionOpen(final ClientSession session, final long timestamp) {
        state.onSessionOpen(session.id());
    }

    @Override
    public void onSessionClose(final ClientSession session, final long timestamp, final CloseReason closeReason) {
        state.onSessionClose(session.id());
    }

    @Override
    public void onSessionMessage(
        final ClientSession session,
        final long timestamp,
        final DirectBuffer buffer,
        final int offset,
        final int length,
        final Header header) {
        state.onMessage(buffer, offset, length);
        if (length >= HEADER_LENGTH) {
            final long sendTimeNs = buffer.getLong(offset + 8, ByteOrder.LITTLE_ENDIAN);
            if (lag != null && sendTimeNs != 0) {
                lag.record(System.nanoTime() - sendTimeNs);
            }
            if (serviceId == 0) {
                final long command = buffer.getLong(offset, ByteOrder.LITTLE_ENDIAN);
                onCommand(command, timestamp, buffer, offset, length);
            }
        }
        if (session != null) {
            reply(session, buffer, offset, length);
        }
    }

    @Override
    public void onTimerEvent(final long correlationId, final long timestamp) {
        state.onTimer(correlationId);
    }

    @Override
    public void onTakeSnapshot(final ExclusivePublication snapshotPublication) {
        // Idling keeps this service's Aeron client alive, as writing a big state does.
        final long endNs = System.nanoTime() + snapshotDelayNs;
        while (System.nanoTime() < endNs) {
            cluster.idleStrategy().idle();
        }
        AuditSnapshot.write(state, snapshotPublication, cluster.idleStrategy());
        print();
    }

    @Override
    public void onRoleChange(final Cluster.Role newRole) {
        print();
    }

    @Override
    public void onNewLeadershipTermEvent(
        final long leadershipTermId,
        final long logPosition,
        final long timestamp,
        final long termBaseLogPosition,
        final int leaderMemberId,
        final int logSessionId,
        final TimeUnit timeUnit,
        final int appVersion) {
        this.leadershipTermId = leadershipTermId;
        print();
    }

    @Override
    public void onTerminate(final Cluster cluster) {
        print();
        if (lag != null) {
            Out.line("lag service=" + serviceId + " " + lag);
        }
    }

    /** Carries out a message's command; only called for the service with id 0. */
    protected void onCommand(
        final long command, final long timestamp, final DirectBuffer buffer, final int offset, final int length) {
        if (length < HEADER_LENGTH + 16) {
            return;
        }
        if (command == COMMAND_TIMER) {
            final long correlationId = buffer.getLong(offset + 16, ByteOrder.LITTLE_ENDIAN);
            final long deadline = timestamp + buffer.getLong(offset + 24, ByteOrder.LITTLE_ENDIAN);
            while (!cluster.scheduleTimer(correlationId, deadline)) {
                cluster.idleStrategy().idle();
            }
        } else if (command == COMMAND_SERVICE_MESSAGE) {
            if (outgoing.capacity() < length) {
                outgoing = new UnsafeBuffer(new byte[length]);
            }
            outgoing.putLong(0, COMMAND_SERVICE_MESSAGE_BACK, ByteOrder.LITTLE_ENDIAN);
            outgoing.putLong(8, 0L, ByteOrder.LITTLE_ENDIAN);
            outgoing.putBytes(HEADER_LENGTH, buffer, offset + HEADER_LENGTH, length - HEADER_LENGTH);
            offerToCluster(outgoing, length);
        }
    }

    protected final void offerToCluster(final DirectBuffer buffer, final int length) {
        while (cluster.offer(buffer, 0, length) < 0) {
            cluster.idleStrategy().idle();
        }
    }

    protected final void reply(
        final ClientSession session, final DirectBuffer buffer, final int offset, final int length) {
        reply.setMemory(0, HEADER_LENGTH, (byte)0);
        reply.putBytes(0, buffer, offset, Math.min(length, HEADER_LENGTH));
        reply.putLong(16, state.hash(), ByteOrder.LITTLE_ENDIAN);
        reply.putLong(24, state.count(), ByteOrder.LITTLE_ENDIAN);
        for (int i = 0; i < REPLY_ATTEMPTS; i++) {
            final long result = session.offer(reply, 0, REPLY_LENGTH);
            if (result != Publication.BACK_PRESSURED && result != Publication.ADMIN_ACTION) {
                return;
            }
            cluster.idleStrategy().idle();
        }
    }

    private void print() {
        Out.line(line(serviceId, cluster.logPosition(), leadershipTermId, state));
    }

    static String line(final int serviceId, final long position, final long term, final AuditState state) {
        return "audit service=" + serviceId + " position=" + position + " term=" + term +
            " count=" + state.count() + " hash=" + String.format("%016x", state.hash());
    }
}
