package config

import (
	"errors"
	"fmt"
	"math"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Secret is text that is never printed: its String, and with it every format and log, shows a mask.
type Secret string

const mask = "********"

// String is a mask, or empty when there is no secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return mask
}

// GoString is String, so that %#v shows no secret either.
func (s Secret) GoString() string { return s.String() }

// Reveal is the secret itself.
func (s Secret) Reveal() string { return string(s) }

// Storage is "pebble" or the URL of a Postgres database.
type Storage string

// Pebble is the storage of a single node, below data_dir.
const Pebble Storage = "pebble"

// urlMask needs no escaping in a URL.
const urlMask = "xxxxx"

// String is the storage without the password that a URL may hold.
func (s Storage) String() string {
	if s == Pebble {
		return string(s)
	}
	u, err := url.Parse(string(s))
	if err != nil { // what cannot be read may hold a password anywhere
		return mask
	}
	query := u.Query()
	for _, key := range []string{"password", "sslpassword"} {
		if query.Has(key) {
			query.Set(key, urlMask)
			u.RawQuery = query.Encode()
		}
	}
	if _, has := u.User.Password(); has {
		u.User = url.UserPassword(u.User.Username(), urlMask)
	}
	return u.String()
}

// GoString is String, so that %#v shows no password either.
func (s Storage) GoString() string { return s.String() }

// Reveal is the storage with its password.
func (s Storage) Reveal() string { return string(s) }

// Size is a number of bytes, written as in 50MiB, 1GB or 4096.
type Size int64

var sizeUnits = []struct {
	suffix string
	bytes  int64
}{
	{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
	{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"B", 1}, {"", 1},
}

// UnmarshalText reads a whole number and a unit; without a unit it is bytes.
func (s *Size) UnmarshalText(text []byte) error {
	for _, unit := range sizeUnits {
		number, ok := strings.CutSuffix(string(text), unit.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(number), 10, 64)
		if err != nil || n < 0 || n > math.MaxInt64/unit.bytes {
			break
		}
		*s = Size(n * unit.bytes)
		return nil
	}
	return fmt.Errorf("%q is not a size; write for example 50MiB, 512KiB, 1GB or a number of bytes", text)
}

// String writes the size in the largest unit that divides it.
func (s Size) String() string {
	for _, unit := range sizeUnits {
		if s != 0 && int64(s)%unit.bytes == 0 && strings.HasSuffix(unit.suffix, "iB") {
			return strconv.FormatInt(int64(s)/unit.bytes, 10) + unit.suffix
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// Duration is a time span, written as in 90s, 1h30m, 7d or 2w.
type Duration time.Duration

// UnmarshalText reads what time.ParseDuration reads, and whole days and weeks.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := parseDuration(string(text))
	if err != nil || parsed < 0 {
		return fmt.Errorf("%q is not a duration; write for example 90s, 15m, 12h, 7d or 2w", text)
	}
	*d = Duration(parsed)
	return nil
}

func parseDuration(text string) (time.Duration, error) {
	for suffix, unit := range map[string]time.Duration{"d": 24 * time.Hour, "w": 7 * 24 * time.Hour} {
		if number, ok := strings.CutSuffix(text, suffix); ok {
			n, err := strconv.ParseInt(number, 10, 64)
			if err == nil && n > math.MaxInt64/int64(unit) {
				err = errors.New("too long")
			}
			return time.Duration(n) * unit, err
		}
	}
	return time.ParseDuration(text)
}

// String writes the duration so that it reads back as the same.
func (d Duration) String() string {
	const day = 24 * time.Hour
	t := time.Duration(d)
	switch {
	case t == 0:
		return "0"
	case t%day == 0:
		return strconv.FormatInt(int64(t/day), 10) + "d"
	}
	text := t.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
