//! When a second thread pays.

/// Floating-point operations below which handing work to another thread costs more than it saves.
const WORTH_A_THREAD: usize = 1 << 20;

/// The number of parts to split work into: `parts` at most, one where the work is small.
pub(crate) fn split(flops: usize, parts: usize) -> usize {
    (flops / WORTH_A_THREAD).clamp(1, rayon::current_num_threads().min(parts.max(1)))
}

/// Runs a function over every task, on several threads where there are several tasks.
pub(crate) fn for_each<T: Send>(tasks: Vec<T>, run: impl Fn(T) + Sync) {
    if tasks.len() <= 1 {
        tasks.into_iter().for_each(run);
    } else {
        let run = &run;
        rayon::scope(|scope| {
            tasks
                .into_iter()
                .for_each(|task| scope.spawn(move |_| run(task)))
        });
    }
}

/// Runs a function on this thread while another thread runs `aside`. Returns when both are done, so
/// it waits where no thread is free.
pub(crate) fn beside(aside: impl FnOnce() + Send, run: impl FnOnce()) {
    rayon::in_place_scope(|scope| {
        scope.spawn(|_| aside());
        run();
    });
}

/// [`for_each`], on this thread alone where the work (in floating-point operations or as much) is small.
pub(crate) fn for_each_of<T: Send>(work: usize, tasks: Vec<T>, run: impl Fn(T) + Sync) {
    if split(work, tasks.len()) > 1 {
        for_each(tasks, run);
    } else {
        tasks.into_iter().for_each(run);
    }
}
