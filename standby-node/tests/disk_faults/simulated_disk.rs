//! A disk that refuses, fills up, and forgets what was not synced when the power goes.
//!
//! The files are real, so what the node reads back is what any process would. Beside them this keeps what a disk
//! would hold: of each file the pages that reached it, of each directory the names that did. A sync takes pages or
//! names there; so does, now and then, a write-back that nobody asked for. When the power goes, every page that is
//! not there yet may be lost or not, every length, every name.
//!
//! Linux drops pages that it could not write, so a sync that failed loses some of its pages for good, and a later
//! sync of the same pages succeeds and writes nothing: that is kept too.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use standby_node::sys::disk::{self, Operation, Watcher, Watching};
use tempfile::TempDir;

use crate::random::Random;

/// What goes wrong, and when: operations are counted from 0.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fault {
    /// One operation is refused, the ones behind it are not.
    Refused { at: u64, errno: i32 },
    /// From here on whatever needs room is refused with ENOSPC.
    Full { at: u64 },
    /// From here on nothing can be written or synced, with EIO.
    Broken { at: u64 },
    /// The power goes while the operation is under way.
    PowerCut { at: u64 },
}

/// One disk, mounted on a directory of its own.
pub(crate) struct SimulatedDisk {
    directory: TempDir,
    state: Rc<RefCell<State>>,
    watching: Option<Watching>,
}

impl SimulatedDisk {
    /// An empty one.
    pub(crate) fn new(seed: u64) -> Self {
        Self::mounted(temporary_directory(), BTreeMap::new(), Random::new(seed), 0)
    }

    fn mounted(directory: TempDir, content: Image, random: Random, operation_count: u64) -> Self {
        let root = directory.path().canonicalize().expect("it was just made");
        let mut state = State {
            root: root.clone(),
            files: Vec::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            pending: Vec::new(),
            page_length: *random.clone().pick(&[512, 4096]),
            random,
            operation_count,
            fault: None,
            image: None,
        };
        for (path, bytes) in content {
            let entry = match bytes {
                None => {
                    std::fs::create_dir(root.join(&path)).expect("its parent comes before it");
                    Entry::Directory
                }
                Some(bytes) => {
                    std::fs::write(root.join(&path), &bytes).expect("its parent comes before it");
                    Entry::File(state.add_file(&path, bytes))
                }
            };
            state.names.insert(path.clone(), entry);
            state.durable_names.insert(path, entry);
        }
        let state = Rc::new(RefCell::new(state));
        let watching = disk::watch(Box::new(Watch(Rc::clone(&state))));
        Self { directory, state, watching: Some(watching) }
    }

    /// Where a node's directory may be made.
    pub(crate) fn root(&self) -> PathBuf {
        self.state.borrow().root.clone()
    }

    /// How many operations there have been.
    pub(crate) fn operation_count(&self) -> u64 {
        self.state.borrow().operation_count
    }

    /// What is to go wrong next, in place of what was.
    pub(crate) fn set_fault(&self, fault: Option<Fault>) {
        self.state.borrow_mut().fault = fault;
    }

    /// What is to go wrong next.
    pub(crate) fn fault(&self) -> Option<Fault> {
        self.state.borrow().fault
    }

    /// Whether it has done what it was to do wrong.
    pub(crate) fn has_failed(&self) -> bool {
        let state = self.state.borrow();
        let at = match state.fault {
            Some(
                Fault::Refused { at, .. }
                | Fault::Full { at }
                | Fault::Broken { at }
                | Fault::PowerCut { at },
            ) => at,
            None => return state.image.is_some(),
        };
        state.operation_count > at
    }

    /// Whether the power has gone.
    pub(crate) fn is_off(&self) -> bool {
        self.state.borrow().image.is_some()
    }

    /// The power goes now.
    pub(crate) fn cut_power(&self) {
        self.state.borrow_mut().cut_power();
    }

    /// The power is back: a disk with what was left of this one. Whatever had files open must be gone.
    pub(crate) fn power_on(mut self) -> Self {
        drop(self.watching.take());
        let mut state = self.state.borrow_mut();
        let image = state.image.take().expect("the power had gone");
        let (random, operation_count) = (state.random.clone(), state.operation_count);
        drop(state);
        drop(self.directory);
        Self::mounted(temporary_directory(), image, random, operation_count)
    }
}

/// In memory where there is such a directory: thousands of disks come and go.
fn temporary_directory() -> TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.expect("a temporary directory")
}

/// Files and directories (`None`) by path, parents first.
type Image = BTreeMap<PathBuf, Option<Vec<u8>>>;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Entry {
    Directory,
    /// By its place in [`State::files`].
    File(usize),
}

/// A file, whatever its name.
struct SimulatedFile {
    /// Reads what the page cache holds, even when the file has no name any more.
    handle: File,
    /// What the disk holds.
    durable: Vec<u8>,
    /// Pages that the system could not write, and gave up, by their number and content.
    given_up: BTreeMap<usize, Vec<u8>>,
}

/// A change of names that no sync has taken to the disk yet.
#[derive(Clone, Debug)]
enum NameChange {
    Made { path: PathBuf, entry: Entry },
    Moved { from: PathBuf, to: PathBuf },
    Removed { path: PathBuf },
}

struct State {
    root: PathBuf,
    files: Vec<SimulatedFile>,
    names: BTreeMap<PathBuf, Entry>,
    durable_names: BTreeMap<PathBuf, Entry>,
    pending: Vec<NameChange>,
    /// What the disk writes whole or not at all.
    page_length: usize,
    random: Random,
    operation_count: u64,
    fault: Option<Fault>,
    /// What is left, once the power has gone.
    image: Option<Image>,
}

/// The part of a disk that the node's thread holds.
struct Watch(Rc<RefCell<State>>);

impl Watcher for Watch {
    fn before(&mut self, operation: &Operation<'_>) -> io::Result<()> {
        self.0.borrow_mut().before(operation)
    }

    fn after(&mut self, operation: &Operation<'_>) {
        self.0.borrow_mut().after(operation);
    }
}

impl State {
    fn before(&mut self, operation: &Operation<'_>) -> io::Result<()> {
        if self.image.is_some() {
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        let number = self.operation_count;
        self.operation_count += 1;
        self.write_back();
        let errno = match self.fault {
            Some(Fault::Refused { at, errno }) if number == at => errno,
            Some(Fault::Full { at }) if number >= at && needs_room(operation) => libc::ENOSPC,
            Some(Fault::Broken { at }) if number >= at => libc::EIO,
            Some(Fault::PowerCut { at }) if number >= at => {
                self.do_in_part(operation);
                self.cut_power();
                libc::EIO
            }
            _ => return Ok(()),
        };
        if self.image.is_none() {
            self.do_in_part(operation);
        }
        Err(io::Error::from_raw_os_error(errno))
    }

    fn after(&mut self, operation: &Operation<'_>) {
        match *operation {
            Operation::CreateDirectory { path } => self.make(path, Entry::Directory),
            Operation::Create { path } => {
                let file = self.add_file(&self.relative(path), Vec::new());
                self.make(path, Entry::File(file));
            }
            Operation::SetLength { .. } | Operation::Allocate { .. } => {}
            Operation::Write { path, offset, bytes } => {
                let pages = pages_of(Some((offset as usize, bytes.len())), 0, self.page_length);
                if let Some(file) = self.file(path) {
                    file.given_up.retain(|page, _| !pages.contains(page));
                }
            }
            Operation::Sync { path } => self.sync(path, None),
            Operation::SyncRange { path, offset, length } => self.sync(path, Some((offset, length))),
            Operation::Rename { from, to } => {
                self.change_name(NameChange::Moved { from: self.relative(from), to: self.relative(to) });
            }
            Operation::Remove { path } | Operation::RemoveTree { path } => {
                self.change_name(NameChange::Removed { path: self.relative(path) });
            }
            Operation::SyncDirectory { path } => {
                let directory = self.relative(path);
                let (synced, pending) = std::mem::take(&mut self.pending)
                    .into_iter()
                    .partition(|change| change.is_in(&directory));
                self.pending = pending;
                let synced: Vec<NameChange> = synced;
                for change in &synced {
                    change.apply(&mut self.durable_names);
                    // What was done below a directory is done below its new name.
                    self.pending.iter_mut().for_each(|pending| pending.follow(change));
                }
            }
        }
    }

    /// Of an operation that fails, a part may have been done.
    fn do_in_part(&mut self, operation: &Operation<'_>) {
        match *operation {
            Operation::Write { path, offset, bytes } => {
                // A short write ends where a page or a block does.
                let end = (offset + self.random.below(bytes.len() as u64 + 1)) / 512 * 512;
                let length = end.saturating_sub(offset) as usize;
                if let Some(file) = self.file(path) {
                    file.handle.write_all_at(&bytes[..length], offset).expect("the real disk has room");
                }
            }
            Operation::Allocate { path, length } => {
                let length = self.random.below(length.min(1 << 20) + 1);
                if let Some(file) = self.file(path)
                    && file.content().len() < length as usize
                {
                    file.handle.set_len(length).expect("the real disk has room");
                }
            }
            Operation::Sync { path } => self.fail_to_sync(path, None),
            Operation::SyncRange { path, offset, length } => self.fail_to_sync(path, Some((offset, length))),
            _ => {}
        }
    }

    fn add_file(&mut self, path: &Path, durable: Vec<u8>) -> usize {
        let handle = File::options().read(true).write(true).open(self.root.join(path)).expect("it is there");
        self.files.push(SimulatedFile { handle, durable, given_up: BTreeMap::new() });
        self.files.len() - 1
    }

    fn relative(&self, path: &Path) -> PathBuf {
        // The node resolves its directory once it has made it.
        let path = path.strip_prefix(&self.root).unwrap_or_else(|_| panic!("{path:?} is not of this disk"));
        path.to_owned()
    }

    fn file(&mut self, path: &Path) -> Option<&mut SimulatedFile> {
        match self.names.get(&self.relative(path)) {
            Some(Entry::File(file)) => Some(&mut self.files[*file]),
            _ => None,
        }
    }

    fn make(&mut self, path: &Path, entry: Entry) {
        self.change_name(NameChange::Made { path: self.relative(path), entry });
    }

    fn change_name(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.pending.push(change);
    }

    fn sync(&mut self, path: &Path, range: Option<(usize, usize)>) {
        let page_length = self.page_length;
        let file = self.file(path).expect("a file that is synced has a name");
        let content = file.content();
        for page in pages_of(range, content.len().max(file.durable.len()), page_length) {
            file.take_page(page, &content, page_length);
        }
        file.durable.resize(content.len(), 0);
    }

    fn fail_to_sync(&mut self, path: &Path, range: Option<(usize, usize)>) {
        let page_length = self.page_length;
        let mut random = self.random.clone();
        let Some(file) = self.file(path) else { return };
        let content = file.content();
        for page in pages_of(range, content.len(), page_length) {
            if page_of(&content, page, page_length) == page_of(&file.durable, page, page_length) {
                continue;
            }
            if random.one_in(2) {
                file.given_up.insert(page, page_of(&content, page, page_length));
            } else {
                file.take_page(page, &content, page_length);
            }
        }
        self.random = random;
    }

    /// The system writes some pages and names of its own accord.
    fn write_back(&mut self) {
        if self.random.one_in(8) && !self.files.is_empty() {
            // The newest files more often: the old ones have been written.
            let count = self.files.len() as u64;
            let back = self.random.below(count).min(self.random.below(count));
            let file = &mut self.files[(count - 1 - back) as usize];
            let content = file.content();
            for page in pages_of(None, content.len(), self.page_length) {
                if self.random.one_in(2) {
                    file.take_page(page, &content, self.page_length);
                }
            }
        }
        if self.random.one_in(16) {
            let count = self.random.below(self.pending.len() as u64 + 1) as usize;
            for change in self.pending.drain(..count) {
                change.apply(&mut self.durable_names);
            }
        }
    }

    fn cut_power(&mut self) {
        if self.image.is_some() {
            return;
        }
        // All lost, all kept, or some of each: each kind of cut finds its own faults.
        let kept_of_four = *self.random.pick(&[0, 1, 2, 2, 3, 4]);
        let mut names = self.durable_names.clone();
        for change in &self.pending {
            if self.random.below(4) < kept_of_four {
                change.apply(&mut names);
            }
        }
        let mut image = Image::new();
        for (path, entry) in names {
            let parent = path.parent().expect("it is below the root");
            if !parent.as_os_str().is_empty() && !matches!(image.get(parent), Some(None)) {
                continue;
            }
            let bytes = match entry {
                Entry::Directory => None,
                Entry::File(file) => {
                    Some(self.files[file].after_power_cut(&mut self.random, kept_of_four, self.page_length))
                }
            };
            image.insert(path, bytes);
        }
        self.image = Some(image);
    }
}

impl SimulatedFile {
    fn content(&self) -> Vec<u8> {
        let length = self.handle.metadata().expect("it is open").len();
        let mut bytes = vec![0; length as usize];
        self.handle.read_exact_at(&mut bytes, 0).expect("nobody else shortens it");
        bytes
    }

    /// A page reaches the disk, unless the system has given it up as it is.
    fn take_page(&mut self, page: usize, content: &[u8], page_length: usize) {
        let range = page * page_length..(page + 1) * page_length;
        // Most pages of a file have not changed.
        if let (Some(old), Some(new)) = (self.durable.get(range.clone()), content.get(range))
            && old == new
        {
            self.given_up.remove(&page);
            return;
        }
        let bytes = page_of(content, page, page_length);
        if self.given_up.get(&page) == Some(&bytes) {
            return;
        }
        self.given_up.remove(&page);
        let from = page * page_length;
        if self.durable.len() < from + page_length {
            self.durable.resize(from + page_length, 0);
        }
        self.durable[from..from + page_length].copy_from_slice(&bytes);
        self.durable.truncate(content.len().max(from));
    }

    fn after_power_cut(&mut self, random: &mut Random, kept_of_four: u64, page_length: usize) -> Vec<u8> {
        let content = self.content();
        let length = if random.below(4) < kept_of_four { content.len() } else { self.durable.len() };
        for page in pages_of(None, content.len(), page_length) {
            if random.below(4) < kept_of_four {
                self.take_page(page, &content, page_length);
            }
        }
        let mut bytes = std::mem::take(&mut self.durable);
        bytes.resize(length, 0);
        bytes
    }
}

impl NameChange {
    fn is_in(&self, directory: &Path) -> bool {
        let is_in = |path: &Path| path.parent() == Some(directory);
        match self {
            Self::Made { path, .. } | Self::Removed { path } => is_in(path),
            // One change of both directories, as in a journal.
            Self::Moved { from, to } => is_in(from) || is_in(to),
        }
    }

    fn apply(&self, names: &mut BTreeMap<PathBuf, Entry>) {
        match self {
            Self::Made { path, entry } => {
                names.insert(path.clone(), *entry);
            }
            Self::Moved { from, to } => {
                let moved: Vec<_> = names.extract_if(.., |path, _| path.starts_with(from)).collect();
                names.extend(moved.into_iter().map(|(path, entry)| (moved_path(&path, from, to), entry)));
            }
            Self::Removed { path: removed } => names.retain(|path, _| !path.starts_with(removed)),
        }
    }

    /// A directory that this change was made in has another name.
    fn follow(&mut self, moved: &Self) {
        let Self::Moved { from, to } = moved else { return };
        let (one, other) = match self {
            Self::Made { path, .. } | Self::Removed { path } => (path, None),
            Self::Moved { from, to } => (from, Some(to)),
        };
        for path in std::iter::once(one).chain(other) {
            if path != from && path.starts_with(from) {
                *path = moved_path(path, from, to);
            }
        }
    }
}

/// The path of what is at `path`, in or at `from`, when that is renamed.
fn moved_path(path: &Path, from: &Path, to: &Path) -> PathBuf {
    match path.strip_prefix(from) {
        Ok(rest) if rest.as_os_str().is_empty() => to.to_owned(),
        Ok(rest) => to.join(rest),
        Err(_) => path.to_owned(),
    }
}

fn needs_room(operation: &Operation<'_>) -> bool {
    matches!(
        operation,
        Operation::CreateDirectory { .. }
            | Operation::Create { .. }
            | Operation::SetLength { .. }
            | Operation::Allocate { .. }
            | Operation::Write { .. }
    )
}

fn pages_of(range: Option<(usize, usize)>, length: usize, page_length: usize) -> std::ops::Range<usize> {
    let (offset, length) = range.unwrap_or((0, length));
    offset / page_length..(offset + length).div_ceil(page_length)
}

/// A page, with zeros where the file has ended.
fn page_of(bytes: &[u8], page: usize, page_length: usize) -> Vec<u8> {
    let from = (page * page_length).min(bytes.len());
    let mut out = bytes[from..(from + page_length).min(bytes.len())].to_vec();
    out.resize(page_length, 0);
    out
}
