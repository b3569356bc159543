// Package doclinks names the links of Markdown pages that lead to no file and to no
// heading. Its tests hold the repository's own pages to it, and to the commands and flags
// that there are.
package doclinks
