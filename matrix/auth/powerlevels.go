package auth

import (
	"slices"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/matrix/id"
)

// levelNames are the members of m.room.power_levels that are single levels.
var levelNames = []string{"users_default", "events_default", "state_default", "ban", "redact", "kick", "invite"}

// checkPowerLevels is the rule on m.room.power_levels.
func (c *checker) checkPowerLevels(rule int) error {
	first, err := c.checkPowerLevelsFormat(rule)
	if err != nil || !c.levels.exists {
		return err
	}
	sender := c.levels.User(c.e.Sender())
	if err := c.checkSingleLevels(sender, rule, first+1); err != nil {
		return err
	}
	names := []string{"events"}
	if c.v.NotificationLevels {
		names = append(names, "notifications")
	}
	for _, name := range names {
		for _, was := range c.changes(name, c.levels.content, c.content) {
			if sender.Less(was.level) {
				return c.reject("the level of "+was.key+" in "+name+" is above the sender's own", rule, first+2, 1)
			}
		}
	}
	for _, name := range names {
		for _, is := range c.changes(name, c.content, c.levels.content) {
			if sender.Less(is.level) {
				return c.reject("the new level of "+is.key+" in "+name+" is above the sender's own", rule, first+3, 1)
			}
		}
	}
	return c.checkUsers(sender, rule, first+4)
}

// checkPowerLevelsFormat is the part about types; it gives the number of the rule after it, which allows a room's first event.
func (c *checker) checkPowerLevelsFormat(rule int) (int, error) {
	usersRule := 1
	if c.v.IntegerPowerLevels {
		usersRule = 3
		if err := c.checkIntegers(rule); err != nil {
			return 0, err
		}
	} else if name := c.outsideDouble(); name != "" {
		return 0, c.malformed("the number in "+name+" is outside the range of a double", rule, usersRule)
	}
	users := member(c.content, "users")
	if users.Exists() && !c.allLevels(users) {
		return 0, c.malformed("users is not an object of integers", rule, usersRule)
	}
	if bad := firstKey(users, func(userID string) bool { return !id.ValidUser(userID) }); bad != nil {
		return 0, c.malformed("users holds "+*bad+", which is not a user id", rule, usersRule)
	}
	if !c.v.PrivilegedCreators {
		return usersRule + 1, nil
	}
	creators := Creators(c.v, c.create)
	if bad := firstKey(users, func(userID string) bool { return slices.Contains(creators, userID) }); bad != nil {
		return 0, c.malformed("users holds the creator "+*bad+", whose power cannot be set", rule, usersRule+1)
	}
	return usersRule + 2, nil
}

// checkIntegers is the part on integers, from room version 10 on.
func (c *checker) checkIntegers(rule int) error {
	for _, name := range levelNames {
		if v := member(c.content, name); v.Exists() && !c.isLevel(v) {
			return c.malformed(name+" is not an integer", rule, 1)
		}
	}
	for _, name := range []string{"events", "notifications"} {
		if v := member(c.content, name); v.Exists() && !c.allLevels(v) {
			return c.malformed(name+" is not an object of integers", rule, 2)
		}
	}
	return nil
}

// outsideDouble names the first member that holds a number beyond a double, which the old formats reject (rooms/v1,
// "m.room.power_levels events accept values as floats").
func (c *checker) outsideDouble() string {
	for _, name := range levelNames {
		if v := member(c.content, name); v.Type == gjson.Number && !c.isLevel(v) {
			return name
		}
	}
	for _, name := range []string{"events", "notifications"} {
		bad := false
		members(member(c.content, name), func(_ string, v gjson.Result) {
			bad = bad || v.Type == gjson.Number && !c.isLevel(v)
		})
		if bad {
			return name
		}
	}
	return ""
}

func firstKey(object gjson.Result, is func(key string) bool) *string {
	var found *string
	members(object, func(key string, _ gjson.Result) {
		if found == nil && is(key) {
			found = &key
		}
	})
	return found
}

func (c *checker) isLevel(v gjson.Result) bool {
	_, ok := parseLevel(v, c.v)
	return ok
}

func (c *checker) allLevels(object gjson.Result) bool {
	ok := object.IsObject()
	members(object, func(_ string, v gjson.Result) { ok = ok && c.isLevel(v) })
	return ok
}

// checkSingleLevels compares users_default and its like before and after.
func (c *checker) checkSingleLevels(sender Level, rule, number int) error {
	for _, name := range levelNames {
		was, had := parseLevel(member(c.levels.content, name), c.v)
		is, has := parseLevel(member(c.content, name), c.v)
		if had == has && was == is {
			continue
		}
		if had && sender.Less(Of(was)) {
			return c.reject("the level of "+name+" is above the sender's own", rule, number, 1)
		}
		if has && sender.Less(Of(is)) {
			return c.reject("the new level of "+name+" is above the sender's own", rule, number, 2)
		}
	}
	return nil
}

// checkUsers compares the users before and after: nobody but themselves touches those as powerful as the sender.
func (c *checker) checkUsers(sender Level, rule, number int) error {
	for _, was := range c.changes("users", c.levels.content, c.content) {
		if was.key != c.e.Sender() && !was.level.Less(sender) {
			return c.reject(was.key+" has at least as much power as the sender", rule, number, 1)
		}
	}
	for _, is := range c.changes("users", c.content, c.levels.content) {
		if sender.Less(is.level) {
			return c.reject("the new level of "+is.key+" is above the sender's own", rule, number+1, 1)
		}
	}
	return nil
}

// entry is an entry of an object of levels.
type entry struct {
	key   string
	level Level
}

// changes are the entries of the object in one content that are missing or different in the other, in their order.
func (c *checker) changes(name string, content, other gjson.Result) []entry {
	elsewhere := map[string]int64{}
	members(member(other, name), func(key string, v gjson.Result) {
		if n, ok := parseLevel(v, c.v); ok {
			elsewhere[key] = n
		}
	})
	var changed []entry
	members(member(content, name), func(key string, v gjson.Result) {
		n, ok := parseLevel(v, c.v)
		if there, had := elsewhere[key]; ok && (!had || there != n) {
			changed = append(changed, entry{key, Of(n)})
		}
	})
	return changed
}
