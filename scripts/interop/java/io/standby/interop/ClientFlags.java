package io.standby.interop;

import java.util.concurrent.TimeUnit;

import io.aeron.Aeron;
import io.aeron.cluster.client.AeronCluster;

/** Where the client finds the cluster and how it runs. */
final class ClientFlags {
    final LoadFlags load;
    final String aeronDir;
    final boolean ownsDriver;
    final String idle;
    final int mtuLength;
    final boolean isInteractive;
    final long connectTimeoutNs;
    private final String ingressEndpoints;
    private final String ingressChannel;
    private final String egressChannel;
    private final long messageTimeoutNs;
    /** How long a session waits for another leader; 0 for the client's default, twice the leader's time-out. */
    private final long newLeaderTimeoutNs;
    private final Security security;

    ClientFlags(final Flags flags) {
        load = new LoadFlags(flags);
        final String host = flags.text("host", "localhost");
        final int basePort = flags.integer("base-port", 20000);
        final int memberCount = flags.integer("member-count", 1);
        ingressEndpoints = flags.text("ingress-endpoints", endpoints(host, basePort, memberCount));
        ingressChannel = flags.text("ingress-channel", "aeron:udp?term-length=1m");
        egressChannel = flags.text("egress-channel", "aeron:udp?term-length=1m|endpoint=" + host + ":0");
        messageTimeoutNs = TimeUnit.MILLISECONDS.toNanos(flags.size("message-timeout-ms", 5_000));
        newLeaderTimeoutNs = TimeUnit.MILLISECONDS.toNanos(flags.size("new-leader-timeout-ms", 0));
        connectTimeoutNs = TimeUnit.MILLISECONDS.toNanos(flags.size("connect-timeout-ms", 30_000));
        security = Security.from(flags, "");
        final String externalDir = flags.text("aeron-dir", null);
        ownsDriver = externalDir == null || flags.isSet("own-driver");
        aeronDir = externalDir == null ? "/dev/shm/standby-client-" + ProcessHandle.current().pid() : externalDir;
        idle = flags.text("idle", "backoff");
        mtuLength = flags.integer("mtu", 0);
        isInteractive = flags.isSet("interactive");
        flags.finish();
    }

    /** A fresh context for one session on the shared Aeron client. */
    AeronCluster.Context context(final Aeron aeron) {
        final AeronCluster.Context context = new AeronCluster.Context()
            .aeron(aeron)
            .ownsAeronClient(false)
            .ingressChannel(ingressChannel)
            .ingressEndpoints(ingressEndpoints)
            .egressChannel(egressChannel)
            .messageTimeoutNs(messageTimeoutNs)
            .idleStrategy(Idle.named(idle).get())
            .errorHandler((error) -> Out.error("client error " + error));
        if (newLeaderTimeoutNs > 0) {
            awaitNewLeader(context);
        }
        if (security != null) {
            context.credentialsSupplier(security.credentialsSupplier());
        }
        return context;
    }

    /** Clients of 1.47 do not have the setting, and this is compiled against them too. */
    private void awaitNewLeader(final AeronCluster.Context context) {
        try {
            AeronCluster.Context.class.getMethod("newLeaderTimeoutNs", long.class).invoke(context, newLeaderTimeoutNs);
        } catch (final ReflectiveOperationException error) {
            throw new IllegalArgumentException("--new-leader-timeout-ms: this client has no such setting", error);
        }
    }

    /** Members' ingress endpoints by the same rule as {@link MemberFlags}. */
    private static String endpoints(final String host, final int basePort, final int count) {
        final StringBuilder text = new StringBuilder();
        for (int id = 0; id < count; id++) {
            text.append(id == 0 ? "" : ",").append(id).append('=');
            text.append(host).append(':').append(basePort + 10 * id + 1);
        }
        return text.toString();
    }
}
