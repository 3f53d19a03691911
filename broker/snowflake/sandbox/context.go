package sandbox

import (
	"strings"
)

// use is USE [DATABASE|SCHEMA|WAREHOUSE|ROLE|SECONDARY ROLES] name.
func (s *Server) use(sess *session, toks []token) (*outcome, error) {
	toks = trimEnd(toks)
	done := status("Statement executed successfully.", typeUse)
	kind, i := "DATABASE", 1
	if toks[1].is("DATABASE", "SCHEMA", "WAREHOUSE", "ROLE", "SECONDARY") && toks[2].sort != sortEnd {
		kind, i = toks[1].val, 2
	}
	if kind == "SECONDARY" {
		return done, nil
	}
	parts, end := dotted(toks, i)
	if len(parts) == 0 || toks[end].sort != sortEnd {
		return nil, syntaxAt("", toks[end].pos, toks[end].text)
	}
	last := parts[len(parts)-1]
	s.schema.RLock()
	defer s.schema.RUnlock()
	sess.mu.Lock()
	defer sess.mu.Unlock()
	switch kind {
	case "WAREHOUSE":
		sess.warehouse = last
		done.typeID = typeUse + 3
	case "ROLE":
		role, bad := chooseRole(s.opt.Users[sess.user], last)
		if bad != nil {
			return nil, &sqlError{code: "003013", state: "42501", line: -1, pos: -1,
				message: "SQL access control error:\nRequested role '" + last + "' is not assigned to the executing user. Specify another role to activate."}
		}
		sess.role = role
	case "SCHEMA":
		db := sess.place.database
		if len(parts) == 2 {
			db = parts[0]
		}
		if _, ok := s.cat.schema(db, last); !ok || len(parts) > 2 {
			return nil, errNotPerformed()
		}
		sess.place = place{db, last}
		done.typeID = typeUse + 2
	default:
		db := s.cat.databases[parts[0]]
		if db == nil || len(parts) > 2 {
			return nil, errNotPerformed()
		}
		at := place{database: parts[0]}
		if len(parts) == 2 { // USE db.schema
			if db.schemas[last] == nil {
				return nil, errNotPerformed()
			}
			at.schema = last
		} else if db.schemas["PUBLIC"] != nil {
			at.schema = "PUBLIC"
		}
		sess.place = at
		done.typeID = typeUse + 1
	}
	return done, nil
}

func errNotPerformed() error {
	return &sqlError{code: "002043", state: "02000", line: -1, pos: -1,
		message: "SQL compilation error:\nObject does not exist, or operation cannot be performed."}
}

// alterSession is ALTER SESSION SET name = value … and UNSET name, ….
func (s *Server) alterSession(sess *session, toks []token) (*outcome, error) {
	toks = trimEnd(toks)
	i := 3
	switch {
	case toks[2].is("UNSET"):
		for ; toks[i].sort != sortEnd; i++ {
			if toks[i].name() {
				sess.setParam(toks[i].val, "")
			}
		}
	case toks[2].is("SET"):
		for toks[i].sort != sortEnd {
			if toks[i].op(",") {
				i++
				continue
			}
			if !toks[i].name() || !toks[i+1].op("=") || toks[i+2].sort == sortEnd || toks[i+2].sort == sortOp {
				return nil, syntaxAt("", toks[i].pos, toks[i].text)
			}
			value := toks[i+2].val
			if toks[i+2].sort == sortWord {
				value = strings.ToLower(value)
			}
			sess.setParam(toks[i].val, value)
			i += 3
		}
	default:
		return nil, syntaxAt("", toks[2].pos, toks[2].text)
	}
	return status("Statement executed successfully.", typeAlter), nil
}
