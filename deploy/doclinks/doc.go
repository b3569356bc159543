// Package doclinks names the links of Markdown pages that lead to no file and to no
// heading. Its tests hold the repository's own pages to it, and the pages for production
// to the commands, flags and values that there are.
package doclinks
