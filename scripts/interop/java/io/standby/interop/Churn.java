package io.standby.interop;

import java.nio.ByteOrder;
import java.util.function.Supplier;

import io.aeron.cluster.client.AeronCluster;
import org.agrona.CloseHelper;
import org.agrona.concurrent.UnsafeBuffer;

/** Sessions that come and go beside the client's own: each connects, gets one message replied, and closes. */
final class Churn {
    private static final int MESSAGE_LENGTH = 48;

    private final Supplier<AeronCluster.Context> contexts;
    private final UnsafeBuffer message = new UnsafeBuffer(new byte[MESSAGE_LENGTH]);
    private AeronCluster.AsyncConnect connecting;
    private AeronCluster cluster;
    private boolean isSent;
    private boolean isReplied;
    private long opened;
    private long closed;

    Churn(final Supplier<AeronCluster.Context> contexts) {
        this.contexts = contexts;
    }

    /** Opens a session unless the one before is still at work. */
    void open() {
        if (!isBusy()) {
            isSent = false;
            isReplied = false;
            connecting = AeronCluster.asyncConnect(contexts.get().egressListener(
                (sessionId, timestamp, buffer, offset, length, header) -> isReplied = true));
        }
    }

    boolean isBusy() {
        return connecting != null || cluster != null;
    }

    long closedCount() {
        return closed;
    }

    int poll() {
        if (!isBusy()) {
            return 0;
        }
        try {
            return step();
        } catch (final RuntimeException error) {
            Out.error("client extra session " + error);
            close();
            return 1;
        }
    }

    void close() {
        CloseHelper.quietClose(connecting);
        CloseHelper.quietClose(cluster);
        connecting = null;
        cluster = null;
    }

    private int step() {
        if (connecting != null) {
            cluster = connecting.poll();
            if (cluster == null) {
                return 0;
            }
            connecting = null;
            opened++;
            return 1;
        }
        if (!isSent) {
            message.setMemory(0, MESSAGE_LENGTH, (byte)(1 + opened % 255));
            message.putLong(0, 0L, ByteOrder.LITTLE_ENDIAN);
            message.putLong(8, 0L, ByteOrder.LITTLE_ENDIAN);
            isSent = cluster.offer(message, 0, MESSAGE_LENGTH) > 0;
        }
        final int fragments = cluster.pollEgress();
        if (isReplied || cluster.isClosed()) {
            close();
            closed++;
            return 1;
        }
        return fragments;
    }
}
