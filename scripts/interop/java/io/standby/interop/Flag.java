package io.standby.interop;

import java.io.File;
import java.util.concurrent.TimeUnit;

import io.aeron.CncFileDescriptor;
import io.aeron.cluster.ClusterControl;
import org.agrona.concurrent.status.AtomicCounter;
import org.agrona.concurrent.status.CountersReader;

/**
 * Sets a standby's flag as any program may: finds the counter of type 223 in its cnc.dat, and sets it by compare-and-set.
 *
 * <p>{@code --aeron-dir D --action SNAPSHOT|ACTIVATE|DRY_RUN [--cluster-id N] [--timeout-ms N]}. Prints
 * {@code flag id=N set} and, once it is back, {@code flag done}. Exits with 1 when there is no such counter, when it is
 * not neutral, or when the time is over.
 */
public final class Flag {
    private static final int STANDBY_CONTROL_TOGGLE = 223;
    private static final long NEUTRAL = 1;

    private Flag() {
    }

    public static void main(final String[] args) throws InterruptedException {
        final Flags flags = new Flags(args);
        final File cncFile = new File(flags.text("aeron-dir"), CncFileDescriptor.CNC_FILE);
        final long value = switch (flags.text("action")) {
            case "SNAPSHOT" -> 2;
            case "ACTIVATE" -> 3;
            case "DRY_RUN" -> 4;
            default -> throw new IllegalArgumentException("--action must be SNAPSHOT, ACTIVATE or DRY_RUN");
        };
        final int clusterId = flags.integer("cluster-id", 0);
        final long deadlineMs = System.currentTimeMillis() + flags.size("timeout-ms", 20_000);
        flags.finish();

        final CountersReader counters = ClusterControl.mapCounters(cncFile);
        final int counterId = find(counters, clusterId);
        if (counterId < 0) {
            fail("no flag in " + cncFile);
        }
        final AtomicCounter flag = new AtomicCounter(counters.valuesBuffer(), counterId, null);
        if (!flag.compareAndSet(NEUTRAL, value)) {
            fail("the flag is at " + flag.get());
        }
        Out.line("flag id=" + counterId + " set");
        while (flag.get() != NEUTRAL) {
            if (System.currentTimeMillis() > deadlineMs) {
                fail("the flag stays at " + flag.get());
            }
            TimeUnit.MILLISECONDS.sleep(10);
        }
        Out.line("flag done");
    }

    /** The counter of the type whose key begins with the cluster's id, or -1. */
    private static int find(final CountersReader counters, final int clusterId) {
        for (int id = 0; id <= counters.maxCounterId(); id++) {
            final boolean isAllocated = counters.getCounterState(id) == CountersReader.RECORD_ALLOCATED;
            if (isAllocated && counters.getCounterTypeId(id) == STANDBY_CONTROL_TOGGLE &&
                counters.metaDataBuffer().getInt(CountersReader.metaDataOffset(id) + CountersReader.KEY_OFFSET) ==
                clusterId) {
                return id;
            }
        }
        return -1;
    }

    private static void fail(final String reason) {
        Out.error("flag failed: " + reason);
        System.exit(1);
    }
}
