package reader

import "golang.org/x/sync/errgroup"

// askedTogether is how many questions are on their way to the server at a time.
const askedTogether = 16

// together asks questions that do not wait for each other's answers. It fails with the first
// error, once all are answered.
func together(questions int, ask func(i int) error) error {
	if questions == 1 {
		return ask(0)
	}
	var g errgroup.Group
	g.SetLimit(askedTogether)
	for i := range questions {
		g.Go(func() error { return ask(i) })
	}
	return g.Wait()
}
