package score

import (
	"regexp"
	"strings"
)

// PlaceBegins is the beginning of a place in which a score is filled in for each device.
// Nothing else in a score means anything.
const PlaceBegins = "$(device."

var placeAt = regexp.MustCompile(`^` + place)

// Place is a place in a text that is filled in for each device.
type Place struct {
	Begin, End int    // in the text
	Label      string // the key of the label whose value it gets; empty: it gets the device's id
	// Literal: another $ is before it, and belongs to it. It stands for PlaceBegins itself.
	Literal bool
}

// Places gives the places of a text, in their order. What looks like one and is none is
// left out: DecodeAuthored refuses it.
func Places(text string) []Place {
	var all []Place
	for at := 0; ; {
		i := strings.Index(text[at:], PlaceBegins)
		if i < 0 {
			return all
		}
		begin := at + i
		at = begin + len(PlaceBegins)
		if begin > 0 && text[begin-1] == '$' {
			all = append(all, Place{Begin: begin - 1, End: at, Literal: true})
			continue
		}
		if m := placeAt.FindStringSubmatchIndex(text[begin+1:]); m != nil {
			p := Place{Begin: begin, End: begin + 1 + m[1]}
			if m[2] >= 0 {
				p.Label = text[begin+1+m[2] : begin+1+m[3]]
			}
			all = append(all, p)
			at = p.End
		}
	}
}
