//! The `audit` lines of a node, and their comparison with those of others.

use std::collections::{BTreeMap, BTreeSet};

/// One `audit service=ID position=P term=T count=N hash=HEX` line.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct AuditLine {
    pub(crate) service: i32,
    pub(crate) position: i64,
    pub(crate) term: i64,
    pub(crate) count: i64,
    pub(crate) hash: u64,
}

impl AuditLine {
    /// Reads a line; `None` for any other text.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let rest = line.strip_prefix("audit ")?;
        let fields: BTreeMap<_, _> =
            rest.split_whitespace().filter_map(|pair| pair.split_once('=')).collect();
        Some(Self {
            service: fields.get("service")?.parse().ok()?,
            position: fields.get("position")?.parse().ok()?,
            term: fields.get("term")?.parse().ok()?,
            count: fields.get("count")?.parse().ok()?,
            hash: u64::from_str_radix(fields.get("hash")?, 16).ok()?,
        })
    }
}

/// What one node printed, over all its runs.
#[derive(Clone, Debug, Default)]
pub(crate) struct AuditLog {
    pub(crate) node: String,
    pub(crate) lines: Vec<AuditLine>,
}

impl AuditLog {
    /// Collects the audit lines among the lines of a node's stdout.
    pub(crate) fn collect<S: AsRef<str>>(node: &str, lines: impl IntoIterator<Item = S>) -> Self {
        let lines = lines.into_iter().filter_map(|line| AuditLine::parse(line.as_ref())).collect();
        Self { node: node.to_owned(), lines }
    }

    /// State by position for one service; an error where the node contradicts itself.
    fn states(&self, service: i32) -> Result<BTreeMap<i64, (i64, u64)>, String> {
        let mut states = BTreeMap::new();
        for line in self.lines.iter().filter(|line| line.service == service) {
            let state = (line.count, line.hash);
            let known = *states.entry(line.position).or_insert(state);
            if known != state {
                return Err(format!(
                    "{} contradicts itself: service {service} at position {}: {}, then {}",
                    self.node,
                    line.position,
                    show(known),
                    show(state)
                ));
            }
        }
        Ok(states)
    }
}

/// What was equal.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Report {
    /// Common positions of the pair and service that had the fewest.
    pub(crate) common_positions_min: usize,
    /// Sum of the common positions over all pairs and services.
    pub(crate) common_positions: usize,
    /// The last position, the same for all nodes.
    pub(crate) last_position: i64,
}

/// Compares each pair of nodes at equal positions, service by service: hash and count must agree. The term is not
/// compared, since a node that starts from a snapshot does not know it yet.
///
/// # Errors
/// At a difference, when a pair has fewer than 2 positions in common, when nodes end at different positions, or
/// when there are fewer than two nodes; the text names the nodes.
pub(crate) fn compare(nodes: &[AuditLog]) -> Result<Report, String> {
    if nodes.len() < 2 {
        return Err(format!("{} nodes: nothing to compare", nodes.len()));
    }
    let services: BTreeSet<_> =
        nodes.iter().flat_map(|node| node.lines.iter().map(|line| line.service)).collect();
    let mut report = Report { common_positions_min: usize::MAX, common_positions: 0, last_position: 0 };
    for service in services {
        let states = nodes.iter().map(|node| node.states(service)).collect::<Result<Vec<_>, _>>()?;
        for (i, left) in states.iter().enumerate() {
            for (j, right) in states.iter().enumerate().skip(i + 1) {
                let names = format!("{} and {}, service {service}", nodes[i].node, nodes[j].node);
                let common = compare_pair(&names, left, right)?;
                report.common_positions_min = report.common_positions_min.min(common);
                report.common_positions += common;
            }
        }
        report.last_position = states[0].keys().next_back().copied().unwrap_or_default();
    }
    if report.common_positions == 0 {
        return Err("no node printed an audit line".to_owned());
    }
    Ok(report)
}

fn compare_pair(
    names: &str,
    left: &BTreeMap<i64, (i64, u64)>,
    right: &BTreeMap<i64, (i64, u64)>,
) -> Result<usize, String> {
    let mut common = 0;
    for (position, state) in left {
        let Some(other) = right.get(position) else { continue };
        if state != other {
            return Err(format!(
                "{names} differ at position {position}: {} and {}",
                show(*state),
                show(*other)
            ));
        }
        common += 1;
    }
    if common < 2 {
        return Err(format!("{names}: only {common} common positions, at least 2 are needed"));
    }
    let (left_end, right_end) = (left.keys().next_back(), right.keys().next_back());
    if left_end != right_end {
        return Err(format!("{names} end at different positions: {left_end:?} and {right_end:?}"));
    }
    Ok(common)
}

fn show((count, hash): (i64, u64)) -> String {
    format!("count={count} hash={hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(node: &str, states: &[(i64, u64)]) -> AuditLog {
        AuditLog::collect(
            node,
            states.iter().map(|(position, hash)| {
                format!("audit service=0 position={position} term=1 count={position} hash={hash:016x}")
            }),
        )
    }

    #[test]
    fn agrees_where_positions_are_common() {
        let report = compare(&[log("a", &[(0, 1), (96, 2), (200, 3)]), log("b", &[(0, 1), (200, 3)])]);
        assert_eq!(report, Ok(Report { common_positions_min: 2, common_positions: 2, last_position: 200 }));
    }

    #[test]
    fn a_different_hash_fails() {
        let error = compare(&[log("a", &[(0, 1), (96, 2)]), log("b", &[(0, 1), (96, 3)])]).unwrap_err();
        assert!(error.contains("a and b, service 0 differ at position 96"), "{error}");
    }

    #[test]
    fn too_few_common_positions_fail() {
        assert!(compare(&[log("a", &[(0, 1)]), log("b", &[(0, 1)])]).is_err());
        assert!(compare(&[log("a", &[(0, 1), (1, 1), (96, 2)]), log("b", &[(0, 1), (1, 1)])]).is_err());
        assert!(compare(&[log("a", &[(0, 1), (96, 2)])]).is_err());
    }

    #[test]
    fn a_node_that_contradicts_itself_fails() {
        assert!(compare(&[log("a", &[(0, 1), (96, 2), (96, 3)]), log("b", &[(0, 1), (96, 2)])]).is_err());
    }
}
