package accounts

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"fleet.nationtech.io/callout"
	"fleet.nationtech.io/deploy/secretfile"
)

// NewPassword gives 144 random bits in letters that need no quoting anywhere.
func NewPassword() string {
	var b [18]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the program rather
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// Names says which users a fleet has; a password is made for each.
type Names struct {
	Operator string
	System   string
	Lab      string
	People   []string
	Devices  []string
	Legacy   []string
	// Callout makes the users of the auth callout. LoadCalloutKeys gives the keys that
	// Callout lacks then.
	Callout bool
	// Level is what each person may do: see Person.
	Level callout.Level
	// Developers makes each person a developer.
	Developers bool
}

// LoadUsers reads the users kept in a file (mode 0600), makes passwords for
// those of names that have none yet, and writes the file if it changed. Logins
// that names does not name are kept in the file and left out of the answer.
func LoadUsers(file string, names Names) (Users, error) {
	kept := map[string]string{}
	b, err := os.ReadFile(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return Users{}, fmt.Errorf("passwords: %w", err)
	default:
		if err := json.Unmarshal(b, &kept); err != nil {
			return Users{}, fmt.Errorf("passwords: %s is not what was written there; remove it to make new ones: %w", file, err)
		}
	}
	changed := false
	password := func(user string) string {
		if kept[user] == "" {
			kept[user], changed = NewPassword(), true
		}
		return kept[user]
	}
	login := func(user string) Login {
		if user == "" {
			return Login{}
		}
		return Login{user, password(user)}
	}
	u := Users{Operator: login(names.Operator), System: login(names.System), Lab: login(names.Lab)}
	for _, p := range names.People {
		u.People = append(u.People, Person{Login: login(p), Level: names.Level, Developer: names.Developers})
	}
	for _, d := range names.Devices {
		u.Devices = append(u.Devices, Device{d, password(DeviceUser(d))})
	}
	for _, d := range names.Legacy {
		u.Legacy = append(u.Legacy, Device{d, password(LegacyUser(d))})
	}
	if names.Callout {
		u.Callout = &Callout{Answers: login(CalloutUser), Log: login(CalloutLogUser), System: login(CalloutSystemUser)}
	}
	if !changed {
		return u, nil
	}
	if b, err = json.MarshalIndent(kept, "", "  "); err != nil {
		return Users{}, fmt.Errorf("passwords: %w", err)
	}
	if err := secretfile.Write(file, append(b, '\n')); err != nil {
		return Users{}, fmt.Errorf("passwords: %w", err)
	}
	return u, nil
}

// DevicePassword finds a device's password.
func (u Users) DevicePassword(device string) (string, bool) {
	i := slices.IndexFunc(u.Devices, func(d Device) bool { return d.ID == device })
	if i < 0 {
		return "", false
	}
	return u.Devices[i].Password, true
}
