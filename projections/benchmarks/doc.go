// Package benchmarks times append, fold, verify and the view's memory, each beside
// the bare alternative in the same run (make bench).
package benchmarks
