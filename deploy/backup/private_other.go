//go:build !unix

package backup

import "io/fs"

// isPrivate is true here: the system's directory for temporary files is each user's own.
func isPrivate(fs.FileInfo) bool { return true }
