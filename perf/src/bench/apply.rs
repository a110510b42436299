use crate::error::BenchError;
use crate::report::Session;

pub(crate) fn run(_session: &mut Session) -> Result<(), BenchError> {
    Err(BenchError::Run(format!("{} not measured yet", crate::allocations::of_this_thread())))
}
