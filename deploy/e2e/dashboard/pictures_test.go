//go:build e2e

package dashboard_test

import (
	"bytes"
	"cmp"
	"flag"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/chromedp/chromedp"
)

var update = flag.Bool("update", false, "write the pictures of the docs")

const (
	pictures  = "../../../docs/pictures" // of the docs
	mostBytes = 150_000                  // that one of them may have

	pictureHeight = 900 // pixels
)

// picture makes a picture of the docs of a page, where the test is told to. Else it wants that
// there is one.
func (b *browser) picture(t *testing.T, name, path, scheme string) {
	t.Helper()
	file := filepath.Join(pictures, "dashboard-"+name+".png")
	if *update {
		b.screen(1200, pictureHeight, scheme)
		b.open(path)
		small, err := shrunk(run(b, chromedp.CaptureScreenshot()))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, small, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	switch has, err := os.Stat(file); {
	case err != nil:
		t.Errorf("%v; make it: go test -tags … -args -update", err)
	case has.Size() > mostBytes:
		t.Errorf("%s has %d bytes, want at most %d", file, has.Size(), mostBytes)
	}
}

// shrunk is a picture with the 256 colours that it has most of, which takes a third of the bytes.
func shrunk(full []byte) ([]byte, error) {
	from, err := png.Decode(bytes.NewReader(full))
	if err != nil {
		return nil, err
	}
	count := map[color.Color]int{}
	for y := range from.Bounds().Dy() {
		for x := range from.Bounds().Dx() {
			count[from.At(x, y)]++
		}
	}
	most := slices.SortedFunc(maps.Keys(count), func(a, b color.Color) int { return cmp.Compare(count[b], count[a]) })
	to := image.NewPaletted(from.Bounds(), most[:min(len(most), 256)])
	draw.Draw(to, to.Bounds(), from, image.Point{}, draw.Src)
	var out bytes.Buffer
	err = (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&out, to)
	return out.Bytes(), err
}
