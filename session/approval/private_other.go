//go:build !unix

package approval

import "io/fs"

// checkPrivate has nothing to look at: the mode bits say nothing here, the
// folder's access list decides.
func checkPrivate(string, fs.FileInfo) error { return nil }

// openFolder has nothing to look at either.
func openFolder(string, fs.FileInfo) string { return "" }

// syncDir does nothing: folders cannot be synced here.
func syncDir(string) error { return nil }
