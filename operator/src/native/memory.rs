//! Memory that a burst of work has left behind.

/// Gives the pages that nobody uses any more back to the kernel. The C library's allocator keeps them, between what lives
/// on, and a thousand resources that come at once leave as much again as they need.
pub(crate) fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it touches free memory alone, and takes the allocator's own locks.
    unsafe {
        libc::malloc_trim(0);
    }
}
