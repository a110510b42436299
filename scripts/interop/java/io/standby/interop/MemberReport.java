package io.standby.interop;

/** Turns a member's counters into lines, one for each change. */
final class MemberReport {
    private static final long COMMIT_INTERVAL_MS = 100;
    private static final String[] ROLES = {"FOLLOWER", "CANDIDATE", "LEADER"};

    private final String prefix;
    private final ClusterCounters counters;
    private boolean isReady;
    private boolean inElection = true;
    private long role = -1;
    private long term = -1;
    private long commitPosition = -1;
    private long nextCommitMs;

    MemberReport(final int memberId, final ClusterCounters counters) {
        prefix = "member id=" + memberId + " ";
        this.counters = counters;
    }

    void poll(final long nowMs) {
        final boolean nowInElection = counters.value(ClusterCounters.ELECTION_STATE) != ClusterCounters.ELECTION_CLOSED;
        if (nowInElection) {
            if (!inElection) {
                inElection = true;
                Out.line(prefix + "election");
            }
            return;
        }
        reportRole();
        inElection = false;
        if (nowMs >= nextCommitMs) {
            nextCommitMs = nowMs + COMMIT_INTERVAL_MS;
            final long position = counters.value(ClusterCounters.COMMIT_POSITION);
            if (position != commitPosition && position != ClusterCounters.ABSENT) {
                commitPosition = position;
                Out.line(prefix + "commit=" + position);
            }
        }
    }

    private void reportRole() {
        final long nowRole = counters.value(ClusterCounters.NODE_ROLE);
        final long nowTerm = counters.value(ClusterCounters.LEADERSHIP_TERM_ID);
        if (nowRole < 0 || nowRole >= ROLES.length) {
            return;
        }
        if (inElection || nowRole != role || nowTerm != term) {
            role = nowRole;
            term = nowTerm;
            Out.line(prefix + (isReady ? "" : "ready ") + "role=" + ROLES[(int)role] + " term=" + term);
            isReady = true;
        }
    }
}
