// Package confine starts an agent so that it cannot reach what only the person
// may: jit's state, the keyring, other Snowflake credentials, private keys, and
// the memory of the person's other processes.
//
//  1. The agent keeps its process id, terminal, streams and signals: what confines
//     it is done by this program in the agent's own process, which then executes
//     the agent.
//  2. What confines is tried, and looked at from inside, before anybody is asked
//     for a session. What then cannot be done again keeps the agent from starting.
//  3. A means that leaves a gap says which: see Report.Gaps. Nothing is called
//     confined because a system call returned no error.
//
// On Linux a user and mount namespace covers what is hidden: folders with an empty
// file system, files and sockets with /dev/null. All capabilities are dropped, so
// that nothing can be uncovered; in a namespace of its own below, the kernel keeps
// these mounts locked (mount_namespaces(7)). Being in another user namespace,
// the agent traces no process outside (ptrace(2), "commoncap"). A Landlock domain
// adds that neither abstract sockets nor signals reach outside (landlock(7),
// LANDLOCK_SCOPE_*, from ABI 6).
//
// With either means no new privileges can be gained (sudo), and no keys be put into
// the terminal that is shared with the person's shell (TIOCSTI).
//
// Where the kernel or a container forbids the namespace, Landlock alone denies the
// files. It cannot take a folder out of one it allows; each folder on the way to
// something hidden is therefore allowed entry by entry, and new files cannot be
// made in it directly. Sockets it leaves reachable before ABI 9.
//
// On macOS a Seatbelt profile denies them. It has not been tried on a Mac.
package confine
