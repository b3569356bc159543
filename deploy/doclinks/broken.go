package doclinks

import (
	"fmt"
	"io/fs"
	"net/url"
	"path"
	"slices"
	"strings"
)

// Broken names each link of the pages that leads nowhere, in a sentence with its page
// and line. Addresses with a scheme are not looked at. The pages are paths in the
// repository, and links are followed in the repository alone.
func Broken(repository fs.FS, pages ...string) ([]string, error) {
	read := map[string]Page{}
	get := func(file string) (Page, error) {
		if p, ok := read[file]; ok {
			return p, nil
		}
		b, err := fs.ReadFile(repository, file)
		if err != nil {
			return Page{}, err
		}
		read[file] = Read(string(b))
		return read[file], nil
	}
	var broken []string
	for _, file := range pages {
		p, err := get(file)
		if err != nil {
			return nil, err
		}
		links := slices.Clone(p.Links)
		slices.SortStableFunc(links, func(a, b Link) int { return a.Line - b.Line })
		for _, l := range links {
			why, err := follow(repository, get, file, l)
			if err != nil {
				return nil, err
			}
			if why != "" {
				broken = append(broken, fmt.Sprintf("%s:%d: %s: %s", file, l.Line, l.Text, why))
			}
		}
	}
	return broken, nil
}

// follow says why a link leads nowhere, or nothing.
func follow(repository fs.FS, get func(string) (Page, error), from string, l Link) (why string, err error) {
	if l.Target == "" {
		return "the page defines no such reference", nil
	}
	u, err := url.Parse(l.Target)
	if err != nil {
		return err.Error(), nil //nolint:nilerr // a wrong address is a finding
	}
	if u.Scheme != "" || u.Host != "" {
		return "", nil
	}
	to := from
	if u.Path != "" {
		if strings.HasPrefix(u.Path, "/") {
			return "an absolute path means another place on each site; write it from the page's folder", nil
		}
		to = path.Join(path.Dir(from), u.Path)
		if !fs.ValidPath(to) {
			return "it leads out of the repository", nil
		}
		if _, err := fs.Stat(repository, to); err != nil {
			return "there is no file " + to, nil //nolint:nilerr // a missing file is a finding
		}
	}
	if u.Fragment == "" || path.Ext(to) != ".md" {
		return "", nil
	}
	p, err := get(to)
	if err != nil {
		return "", err
	}
	if !p.Anchors[u.Fragment] {
		return fmt.Sprintf("%s has no heading #%s", to, u.Fragment), nil
	}
	return "", nil
}
