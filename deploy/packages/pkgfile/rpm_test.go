package pkgfile

import (
	"encoding/binary"
	"errors"
	"testing"
)

// rpmHeader is a header of one entry.
func rpmHeader(entries, store uint32, entry [4]uint32, text string) []byte {
	b := append([]byte(headerMagic), 0, 0, 0, 0)
	for _, n := range append([]uint32{entries, store}, entry[:]...) {
		b = binary.BigEndian.AppendUint32(b, n)
	}
	return append(b, text...)
}

// The numbers of an rpm have 32 bits, as an int has on many devices.
func TestAnRPMWithNumbersThatAreTooLargeIsRefused(t *testing.T) {
	t.Parallel()
	const large = 0xffff_fff0
	whole := [4]uint32{tagName, typeString, 0, 1}
	if h, _, err := readHeader(rpmHeader(1, 4, whole, "abc\x00")); err != nil || h.text(tagName) != "abc" {
		t.Fatalf("a whole header: %v, %v", h, err)
	}
	for name, b := range map[string][]byte{
		"many entries":       rpmHeader(large, 4, whole, "abc\x00"),
		"a large store":      rpmHeader(1, large, whole, "abc\x00"),
		"an offset far away": rpmHeader(1, 4, [4]uint32{tagName, typeString, large, 1}, "abc\x00"),
		"many texts":         rpmHeader(1, 4, [4]uint32{tagName, typeString, 0, large}, "abc\x00"),
		"many numbers":       rpmHeader(1, 4, [4]uint32{tagDirIndexes, typeInt32, 0, large}, "abc\x00"),
		"two numbers in one": rpmHeader(1, 4, [4]uint32{tagDirIndexes, typeInt32, 0, 2}, "abc\x00"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, _, err := readHeader(b); !errors.Is(err, errCutRPM) {
				t.Errorf("got %v", err)
			}
		})
	}
	// A folder's number that is too large names no folder.
	const name = "fleet-agent\x00"
	b := append([]byte(rpmMagic), make([]byte, rpmLead-len(rpmMagic))...)
	b = append(b, rpmHeader(0, 0, [4]uint32{}, "")[:headerIntro]...)
	index := "\xff\xff\xff\xf0"
	entries := [][4]uint32{{tagDirIndexes, typeInt32, 0, 1}, {tagBaseNames, typeStringArray, 4, 1}, {tagDirNames, typeStringArray, 4, 1}, {tagFileDigests, typeStringArray, 4, 1}}
	b = append(b, headerMagic+"\x00\x00\x00\x00"...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(entries)))
	b = binary.BigEndian.AppendUint32(b, uint32(len(index+name)))
	for _, e := range entries {
		for _, n := range e {
			b = binary.BigEndian.AppendUint32(b, n)
		}
	}
	if p, err := Read(append(b, index+name...)); err == nil {
		t.Errorf("a file in a folder that there is not: %+v", p)
	}
}
