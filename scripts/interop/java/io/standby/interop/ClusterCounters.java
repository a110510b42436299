package io.standby.interop;

import java.io.File;

import io.aeron.CncFileDescriptor;
import io.aeron.cluster.ClusterControl;
import org.agrona.concurrent.status.CountersReader;

/** A node's cluster counters, found by type in its cnc.dat. */
final class ClusterCounters {
    static final int NODE_ROLE = 201;
    static final int COMMIT_POSITION = 203;
    static final int ELECTION_STATE = 207;
    static final int BACKUP_LIVE_LOG_POSITION = 209;
    static final int LEADERSHIP_TERM_ID = 239;

    static final long ROLE_LEADER = 2;
    static final long ELECTION_CLOSED = 17;
    static final long ABSENT = Long.MIN_VALUE;

    private final CountersReader counters;

    ClusterCounters(final String aeronDir) {
        counters = ClusterControl.mapCounters(new File(aeronDir, CncFileDescriptor.CNC_FILE));
    }

    CountersReader reader() {
        return counters;
    }

    /** The first counter of the type, or {@link #ABSENT}. */
    long value(final int typeId) {
        for (int id = 0; id <= counters.maxCounterId(); id++) {
            final int state = counters.getCounterState(id);
            if (state == CountersReader.RECORD_UNUSED) {
                break;
            }
            if (state == CountersReader.RECORD_ALLOCATED && counters.getCounterTypeId(id) == typeId) {
                return counters.getCounterValue(id);
            }
        }
        return ABSENT;
    }

    boolean isLeader() {
        return value(NODE_ROLE) == ROLE_LEADER && value(ELECTION_STATE) == ELECTION_CLOSED;
    }
}
