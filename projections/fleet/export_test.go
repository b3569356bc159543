package fleet

// Body is an encoded view before it is compressed: its bytes depend on nothing
// but the view and FoldVersion.
func Body(v *View) []byte {
	w := &writer{words: map[string]uint64{}}
	w.view(v)
	return w.b
}

// Wrap makes of a body what Decode reads.
func Wrap(body []byte) []byte {
	b, err := seal(body)
	if err != nil {
		panic(err)
	}
	return b
}
