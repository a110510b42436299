package io.standby.perf;

import io.aeron.Aeron;
import io.aeron.Publication;
import io.aeron.Subscription;
import io.aeron.driver.MediaDriver;
import io.aeron.driver.ThreadingMode;
import org.agrona.concurrent.AgentInvoker;

/** One end of a connection: a media driver and a client, both run by the thread that owns this. */
final class Side implements AutoCloseable {
    private static final int CLIENT_CYCLE_INTERVAL = 256;

    private final MediaDriver driver;
    private final AgentInvoker driverInvoker;
    private final Aeron aeron;
    private final AgentInvoker clientInvoker;
    private int cycleCount;

    Side(final String directory, final TransportSettings settings) {
        driver = MediaDriver.launch(new MediaDriver.Context()
            .aeronDirectoryName(directory)
            .threadingMode(ThreadingMode.INVOKER)
            .dirDeleteOnStart(true)
            .dirDeleteOnShutdown(true)
            .termBufferSparseFile(false)
            .publicationTermBufferLength(settings.termLength())
            .mtuLength(settings.mtu())
            .initialWindowLength(settings.windowLength())
            .socketRcvbufLength(settings.socketBufferLength())
            .socketSndbufLength(settings.socketBufferLength()));
        driverInvoker = driver.sharedAgentInvoker();
        aeron = Aeron.connect(new Aeron.Context()
            .aeronDirectoryName(directory)
            .driverAgentInvoker(driverInvoker)
            .useConductorAgentInvoker(true));
        clientInvoker = aeron.conductorAgentInvoker();
    }

    Publication addPublication(final String channel, final int streamId) {
        return aeron.addExclusivePublication(channel, streamId);
    }

    Subscription addSubscription(final String channel, final int streamId) {
        return aeron.addSubscription(channel, streamId);
    }

    /** One duty cycle of the driver; the client's upkeep takes part in some of them only, in its favour. */
    int cycle() {
        if (0 == (++cycleCount & (CLIENT_CYCLE_INTERVAL - 1))) {
            clientInvoker.invoke();
        }
        return driverInvoker.invoke();
    }

    public void close() {
        aeron.close();
        driver.close();
    }
}
