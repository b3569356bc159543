package page

import (
	"bytes"
	"html/template"
)

// Account is who looks at a page, which is otherwise the same for all persons of the same rights.
type Account struct {
	Name    string // empty: nobody is signed in
	SignOut string // the path that takes the POST by which the person signs out
}

// end is that of each page.
var end = template.Must(template.ParseFS(templates, "templates/end.html"))

// End is the end of each page for a person. It has at most 4,096 bytes.
func End(a Account) []byte {
	var b bytes.Buffer
	_ = end.ExecuteTemplate(&b, "end", a) // a buffer takes all, and the fields are texts
	return inOrder(b.Bytes())
}
