package pkgfile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// An rpm is a lead, two headers and the files. A header is its magic, the numbers of its
// entries and of the bytes of its store, 16 bytes an entry (tag, type, offset, count),
// and the store. The first header, of signatures, is padded to 8 bytes.
// https://rpm-software-management.github.io/rpm/manual/format_v4.html
const (
	rpmMagic    = "\xed\xab\xee\xdb"
	rpmLead     = 96
	headerMagic = "\x8e\xad\xe8\x01"
	headerIntro = 16
	entrySize   = 16

	// maxEntries is more than any package has.
	maxEntries = 1 << 16
)

// Tags of a header.
const (
	tagName        = 1000
	tagVersion     = 1001
	tagRelease     = 1002
	tagArch        = 1022
	tagFileDigests = 1035
	tagDirIndexes  = 1116
	tagBaseNames   = 1117
	tagDirNames    = 1118
)

// Types of an entry.
const (
	typeInt32       = 4
	typeString      = 6
	typeStringArray = 8
	typeI18N        = 9
)

var errCutRPM = errors.New("the rpm is cut off")

type header struct {
	texts   map[uint32][]string
	numbers map[uint32][]uint32
}

func (h header) text(tag uint32) string {
	if all := h.texts[tag]; len(all) > 0 {
		return all[0]
	}
	return ""
}

func readRPM(content []byte) (Package, error) {
	p := Package{Format: RPM, Content: content}
	if len(content) < rpmLead {
		return p, errCutRPM
	}
	_, size, err := readHeader(content[rpmLead:])
	if err != nil {
		return p, fmt.Errorf("read the rpm's signatures: %w", err)
	}
	at := rpmLead + (size+7)/8*8
	if at > len(content) {
		return p, errCutRPM
	}
	h, _, err := readHeader(content[at:])
	if err != nil {
		return p, fmt.Errorf("read the rpm's header: %w", err)
	}
	p.Version = h.text(tagVersion) + "-" + h.text(tagRelease)
	bases, dirs := h.texts[tagBaseNames], h.texts[tagDirNames]
	for i, dir := range h.numbers[tagDirIndexes] {
		if i < len(bases) && int64(dir) < int64(len(dirs)) && i < len(h.texts[tagFileDigests]) && strings.TrimPrefix(dirs[dir], "/")+bases[i] == program {
			p.Sum = h.texts[tagFileDigests][i]
		}
	}
	return named(p, h.text(tagName), h.text(tagArch))
}

// atMost reads a number. It is compared before it becomes an int, which may have 32 bits.
func atMost(b []byte, limit int) (int, error) {
	n := binary.BigEndian.Uint32(b)
	if int64(n) > int64(limit) {
		return 0, errCutRPM
	}
	return int(n), nil
}

// readHeader reads a header, and says how long it is.
func readHeader(b []byte) (header, int, error) {
	h := header{texts: map[uint32][]string{}, numbers: map[uint32][]uint32{}}
	if len(b) < headerIntro {
		return h, 0, errCutRPM
	}
	if !bytes.HasPrefix(b, []byte(headerMagic)) {
		return h, 0, errors.New("it has no header where one must be")
	}
	entries, err := atMost(b[8:], maxEntries)
	if err != nil {
		return h, 0, err
	}
	bytesOfStore, err := atMost(b[12:], len(b))
	if err != nil || headerIntro+entries*entrySize+bytesOfStore > len(b) {
		return h, 0, errCutRPM
	}
	size := headerIntro + entries*entrySize + bytesOfStore
	store := b[size-bytesOfStore : size]
	for i := range entries {
		e := b[headerIntro+i*entrySize:]
		tag, kind := binary.BigEndian.Uint32(e), binary.BigEndian.Uint32(e[4:])
		offset, err := atMost(e[8:], len(store))
		if err != nil {
			return h, 0, err
		}
		count, err := atMost(e[12:], len(store))
		if err != nil {
			return h, 0, err
		}
		at := store[offset:]
		switch kind {
		case typeString, typeStringArray, typeI18N:
			for range count {
				text, rest, found := bytes.Cut(at, []byte{0})
				if !found {
					return h, 0, errCutRPM
				}
				h.texts[tag], at = append(h.texts[tag], string(text)), rest
			}
		case typeInt32:
			if count > len(at)/4 {
				return h, 0, errCutRPM
			}
			for n := range count {
				h.numbers[tag] = append(h.numbers[tag], binary.BigEndian.Uint32(at[n*4:]))
			}
		}
	}
	return h, size, nil
}
