package broker

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/jit-access/jit/broker/snowflake"
	"github.com/jit-access/jit/policy/sql"
)

// variables is what is known about the variables and parameters of one upstream
// session. It is
// replaced, never changed. The zero value is a session that assigned none.
//
// A text that names a variable means what the variable holds. Approvals
// therefore bind to all of them: a value that is known by itself, one that is
// not by the statement that assigned it, so that no later assignment can stand in
// for the one a reviewer decided on.
type variables struct {
	literals map[string]string // assigned a constant
	opaque   map[string]string // assigned anything else: the id of the statement that did
	settings []setting         // ALTER SESSION, in order; parameters decide what literals mean
	unseen   string            // the statement since which any other may hold anything
}

// setting is an ALTER SESSION in effect. A later one with the same key replaces it.
type setting struct{ key, text string }

// trackedMost bounds what is kept of each kind; beyond it nothing is known.
const trackedMost = 256

// settingsOf are the session parameters that statements set. A tag changes
// nothing; texts that set several stand for themselves.
func settingsOf(statements []sql.Statement) []setting {
	var list []setting
	for i := range statements {
		st := &statements[i]
		list = append(list, settingsOf(st.Nested)...)
		words := strings.FieldsFunc(strings.ToUpper(st.Text), func(r rune) bool { return r <= ' ' || r == '=' })
		if st.Kind != "ALTER_SESSION" || len(words) < 4 {
			continue
		}
		// Anything but the plain form, a comment in it too, stands for itself.
		one := words[0] == "ALTER" && words[1] == "SESSION" && (words[2] == "SET" || words[2] == "UNSET") &&
			strings.Count(st.Text, "=") <= 1 && !strings.Contains(st.Text, ",")
		switch {
		case !one:
			list = append(list, setting{st.Text, st.Text})
		case words[3] != "QUERY_TAG":
			list = append(list, setting{words[3], st.Text})
		}
	}
	return list
}

// after is what is known once statements have run, as the statement with id by.
func (v variables) after(by string, statements []sql.Statement) variables {
	next := variables{literals: maps.Clone(v.literals), opaque: maps.Clone(v.opaque), settings: slices.Clone(v.settings), unseen: v.unseen}
	for _, set := range settingsOf(statements) {
		next.settings = append(slices.DeleteFunc(next.settings, func(old setting) bool { return old.key == set.key }), set)
	}
	if next.literals == nil {
		next.literals = map[string]string{}
	}
	if next.opaque == nil {
		next.opaque = map[string]string{}
	}
	for i := range statements {
		e := statements[i].Effects
		for _, name := range e.SetVariables {
			delete(next.literals, name)
			next.opaque[name] = by
			if value, constant := e.Literals[name]; constant {
				next.literals[name] = value
				delete(next.opaque, name)
			}
		}
		if e.Anything || statements[i].Kind == sql.KindUnknown {
			next = variables{literals: map[string]string{}, opaque: map[string]string{}, settings: next.settings, unseen: by}
		}
	}
	if len(next.literals) > trackedMost || len(next.opaque) > trackedMost || len(next.settings) > trackedMost {
		return variables{unseen: by}
	}
	return next
}

// readBy is what a may read of them: those not seen count only where it names a
// variable, or runs what is not read here.
func (v variables) readBy(a *sql.Analysis) variables {
	if v.unseen == "" || strings.Contains(a.Canonical, "$") || strings.Contains(strings.ToUpper(a.Canonical), "GETVARIABLE") ||
		slices.ContainsFunc(a.Statements, func(st sql.Statement) bool { return st.Effects.Anything || st.Kind == sql.KindUnknown }) {
		return v
	}
	v.unseen = ""
	return v
}

// object lists them in one order, as they are shown, recorded and digested.
func (v variables) object() snowflake.Object {
	var o snowflake.Object
	add := func(name, key, value string) {
		o = append(o, snowflake.Member{Key: name, Raw: snowflake.Object{{Key: key, Raw: snowflake.Quote(value)}}.Append(nil)})
	}
	names := slices.Concat(slices.Collect(maps.Keys(v.literals)), slices.Collect(maps.Keys(v.opaque)))
	slices.Sort(names)
	for _, name := range names {
		if value, known := v.literals[name]; known {
			add("$"+name, "value", value)
		} else {
			add("$"+name, "assignedBy", v.opaque[name])
		}
	}
	for i, set := range v.settings {
		add("session "+strconv.Itoa(i+1), "set", set.text)
	}
	if v.unseen != "" {
		add("*", "assignedBy", v.unseen)
	}
	return o
}
