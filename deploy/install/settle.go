package install

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"fleet.nationtech.io/deploy/chart"
	"fleet.nationtech.io/deploy/images"
)

// settle decides what is installed: over what is there already.
func (r *run) settle(context.Context) error {
	if r.before == nil {
		if r.Upgrade {
			return ErrNothingInstalled
		}
		r.Values = r.Provider.withApplication(chart.Merge(r.Provider.values(), r.Values))
	} else if err := r.settleOver(*r.before); err != nil {
		return err
	}
	r.Profile = cmp.Or(r.Profile, DefaultProfile)
	return nil
}

// settleOver keeps of an installation what is not given, where the version lets it.
func (r *run) settleOver(b Record) error {
	if err := r.allowed(b); err != nil {
		return err
	}
	if former := r.record(Installing).Before; r.Upgrade && former != r.Version {
		r.result.Former = former
	}
	r.Profile = cmp.Or(r.Profile, b.Profile)
	given := chart.Merge(r.Provider.values(), r.Values)
	r.Values = r.Provider.withApplication(given)
	if !r.Keep {
		return nil
	}
	images, _ := given["images"].(chart.Values)
	if r.ImagesFrom == "" && len(images) == 0 {
		r.ImagesFrom = b.ImagesFrom
	}
	r.Values = r.Provider.withApplication(chart.Merge(b.Values, given))
	if r.ImagesFrom != "" {
		r.Values = without(r.Values, images)
	}
	if b.Version == r.Version || r.ImagesFrom != "" {
		return nil
	}
	// An image that a person named once is of the version of then.
	kept, _ := b.Values["images"].(chart.Values)
	for _, key := range slices.Sorted(maps.Values(ownImages)) {
		if kept[key] != nil && images[key] == nil {
			return &VersionError{
				Sentence: fmt.Sprintf("images.%s is %v, which was given for version %s, and this is %s", key, kept[key], b.Version, r.Version),
				Remedy:   "--images REGISTRY/PREFIX, --bundle FILE, or --set images." + key + "=…",
			}
		}
	}
	return nil
}

// allowed says whether this version may follow what is installed.
func (r *run) allowed(b Record) error {
	back := b.State == Installing && b.Before == r.Version
	switch {
	case b.State == Removed: // its data is of that version
		if r.Upgrade {
			return ErrNothingInstalled
		}
		return Upgradable(b.Version, r.Version)
	case r.Upgrade && b.State == Installing && b.Before != "": // parts may be of the version before still
		if err := Upgradable(b.Before, r.Version); err != nil {
			return err
		}
		return Upgradable(b.Version, r.Version)
	case r.Upgrade:
		return Upgradable(b.Version, r.Version)
	case b.Version != r.Version && !back:
		return &VersionError{Sentence: fmt.Sprintf("version %s is installed, and this is %s", b.Version, r.Version), Remedy: "fleetctl upgrade"}
	}
	return nil
}

// ownImages are the values that name an image of the fleet's own, by the image's name.
var ownImages = map[string]string{"fleet-operator": "operator", "fleet-callout": "callout", "fleetctl": "fleetctl"}

// imagesBelow names the fleet's own images of a version.
func imagesBelow(repository, version string) chart.Values {
	all := chart.Values{}
	for name, key := range ownImages {
		all[key] = images.Image{Name: name, Tag: images.Release{Version: version}.Tag()}.Reference(repository)
	}
	return chart.Values{"images": all}
}

// without leaves the fleet's own images out of values, but those that are given.
func without(values, given chart.Values) chart.Values {
	kept, _ := values["images"].(chart.Values)
	if len(kept) == 0 {
		return values
	}
	values, kept = maps.Clone(values), maps.Clone(kept)
	for _, key := range ownImages {
		if given[key] == nil {
			delete(kept, key)
		}
	}
	values["images"] = kept
	return values
}
