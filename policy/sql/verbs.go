package sql

// commandRule is what the verb table knows about a kind of command.
type commandRule struct {
	kind     Kind
	category Category
	reason   string // set if the kind may never run unattended, whatever its targets
}

// objectType is what the verb table knows about a type of object.
type objectType struct {
	words    string // as written after the verb
	object   ObjectKind
	category Category // of CREATE, ALTER, DROP
	code     bool     // its definition is or runs code that is not read here
	listed   string   // plural in SHOW; empty: words + "S"
	private  bool     // SHOW and DESCRIBE may tell personal data or secrets' names
}

// objectTypes are the types CREATE, ALTER, DROP, UNDROP, DESCRIBE and SHOW
// take. A type that is not here makes the statement KindUnknown.
var objectTypes = []objectType{
	{words: "TABLE", object: ObjectTable, category: CategoryDefine},
	{words: "EXTERNAL TABLE", object: ObjectTable, category: CategoryDefine},
	{words: "DYNAMIC TABLE", object: ObjectTable, category: CategoryDefine},
	{words: "ICEBERG TABLE", object: ObjectTable, category: CategoryDefine},
	{words: "DYNAMIC ICEBERG TABLE", object: ObjectTable, category: CategoryDefine},
	{words: "EVENT TABLE", object: ObjectTable, category: CategoryDefine},
	{words: "HYBRID TABLE", object: ObjectTable, category: CategoryDefine},
	{words: "INTERACTIVE TABLE", object: ObjectTable, category: CategoryDefine},
	{words: "VIEW", object: ObjectView, category: CategoryDefine},
	{words: "MATERIALIZED VIEW", object: ObjectView, category: CategoryDefine},
	{words: "INTERACTIVE MATERIALIZED VIEW", object: ObjectView, category: CategoryDefine},
	{words: "SEMANTIC VIEW", object: ObjectView, category: CategoryDefine},
	{words: "SCHEMA", object: ObjectSchema, category: CategoryDefine},
	{words: "DATABASE", object: ObjectDatabase, category: CategoryDefine},
	{words: "WAREHOUSE", object: ObjectWarehouse, category: CategoryDefine},
	{words: "INTERACTIVE WAREHOUSE", object: ObjectWarehouse, category: CategoryDefine},
	{words: "ROLE", object: ObjectRole, category: CategoryPrivilege},
	{words: "DATABASE ROLE", object: ObjectRole, category: CategoryPrivilege},
	{words: "APPLICATION ROLE", object: ObjectRole, category: CategoryPrivilege},
	{words: "INSTANCE ROLE", object: ObjectRole, category: CategoryPrivilege},
	{words: "USER", object: ObjectUser, category: CategoryCredential, private: true},
	{words: "USER PROGRAMMATIC ACCESS TOKEN", object: ObjectUser, category: CategoryCredential, private: true},
	{words: "USER WORKLOAD IDENTITY AUTHENTICATION METHOD", object: ObjectUser, category: CategoryCredential, private: true},
	{words: "PROGRAMMATIC ACCESS TOKEN", object: ObjectUser, category: CategoryCredential, private: true},
	{words: "SHARE", object: ObjectShare, category: CategoryPrivilege},
	{words: "LISTING", object: ObjectShare, category: CategoryPrivilege},
	{words: "ORGANIZATION LISTING", object: ObjectShare, category: CategoryPrivilege},
	{words: "STAGE", object: ObjectStage, category: CategoryDefine},
	{words: "FILE FORMAT", object: ObjectOther, category: CategoryDefine},
	{words: "SEQUENCE", object: ObjectOther, category: CategoryDefine},
	{words: "STREAM", object: ObjectTable, category: CategoryDefine},
	{words: "TASK", object: ObjectOther, category: CategoryDefine, code: true},
	{words: "PIPE", object: ObjectOther, category: CategoryDefine, code: true},
	{words: "ALERT", object: ObjectOther, category: CategoryDefine, code: true},
	{words: "FUNCTION", object: ObjectFunction, category: CategoryDefine, code: true},
	{words: "AGGREGATE FUNCTION", object: ObjectFunction, category: CategoryDefine, code: true},
	{words: "EXTERNAL FUNCTION", object: ObjectFunction, category: CategoryDefine, code: true},
	{words: "DATA METRIC FUNCTION", object: ObjectFunction, category: CategoryDefine, code: true},
	{words: "PROCEDURE", object: ObjectProcedure, category: CategoryDefine, code: true},
	{words: "TAG", object: ObjectOther, category: CategoryDefine},
	{words: "TYPE", object: ObjectOther, category: CategoryDefine},
	{words: "INDEX", object: ObjectOther, category: CategoryDefine, listed: "INDEXES"},
	{words: "SEARCH OPTIMIZATION", object: ObjectOther, category: CategoryDefine},
	{words: "MASKING POLICY", object: ObjectOther, category: CategoryDefine, code: true, listed: "MASKING POLICIES"},
	{words: "ROW ACCESS POLICY", object: ObjectOther, category: CategoryDefine, code: true, listed: "ROW ACCESS POLICIES"},
	{words: "AGGREGATION POLICY", object: ObjectOther, category: CategoryDefine, code: true, listed: "AGGREGATION POLICIES"},
	{words: "PROJECTION POLICY", object: ObjectOther, category: CategoryDefine, code: true, listed: "PROJECTION POLICIES"},
	{words: "JOIN POLICY", object: ObjectOther, category: CategoryDefine, code: true, listed: "JOIN POLICIES"},
	{words: "PRIVACY POLICY", object: ObjectOther, category: CategoryDefine, code: true, listed: "PRIVACY POLICIES"},
	{words: "STORAGE LIFECYCLE POLICY", object: ObjectOther, category: CategoryDefine, code: true, listed: "STORAGE LIFECYCLE POLICIES"},
	{words: "PACKAGES POLICY", object: ObjectOther, category: CategoryCredential, listed: "PACKAGES POLICIES"},
	{words: "PASSWORD POLICY", object: ObjectOther, category: CategoryCredential, listed: "PASSWORD POLICIES"},
	{words: "SESSION POLICY", object: ObjectOther, category: CategoryCredential, listed: "SESSION POLICIES"},
	{words: "AUTHENTICATION POLICY", object: ObjectOther, category: CategoryCredential, listed: "AUTHENTICATION POLICIES"},
	{words: "FEATURE POLICY", object: ObjectOther, category: CategoryCredential, listed: "FEATURE POLICIES"},
	{words: "NETWORK POLICY", object: ObjectIntegration, category: CategoryCredential, listed: "NETWORK POLICIES"},
	{words: "NETWORK RULE", object: ObjectIntegration, category: CategoryCredential},
	{words: "INTEGRATION", object: ObjectIntegration, category: CategoryCredential},
	{words: "STORAGE INTEGRATION", object: ObjectIntegration, category: CategoryCredential},
	{words: "SECURITY INTEGRATION", object: ObjectIntegration, category: CategoryCredential},
	{words: "API INTEGRATION", object: ObjectIntegration, category: CategoryCredential},
	{words: "NOTIFICATION INTEGRATION", object: ObjectIntegration, category: CategoryCredential},
	{words: "CATALOG INTEGRATION", object: ObjectIntegration, category: CategoryCredential},
	{words: "EXTERNAL ACCESS INTEGRATION", object: ObjectIntegration, category: CategoryCredential},
	{words: "EXTERNAL VOLUME", object: ObjectIntegration, category: CategoryCredential},
	{words: "SECRET", object: ObjectIntegration, category: CategoryCredential, private: true},
	{words: "CONNECTION", object: ObjectIntegration, category: CategoryCredential},
	{words: "CONNECTOR", object: ObjectIntegration, category: CategoryCredential},
	{words: "FAILOVER GROUP", object: ObjectShare, category: CategoryPrivilege},
	{words: "REPLICATION GROUP", object: ObjectShare, category: CategoryPrivilege},
	{words: "REPLICATION ACCOUNT", object: ObjectOther, category: CategoryPrivilege},
	{words: "REPLICATION DATABASE", object: ObjectDatabase, category: CategoryPrivilege},
	{words: "ACCOUNT", object: ObjectOther, category: CategoryCredential},
	{words: "MANAGED ACCOUNT", object: ObjectOther, category: CategoryCredential},
	{words: "ORGANIZATION ACCOUNT", object: ObjectOther, category: CategoryCredential},
	{words: "ORGANIZATION PROFILE", object: ObjectOther, category: CategoryCredential},
	{words: "RESOURCE MONITOR", object: ObjectOther, category: CategoryDefine},
	{words: "APPLICATION", object: ObjectOther, category: CategoryDefine, code: true},
	{words: "APPLICATION PACKAGE", object: ObjectShare, category: CategoryDefine, code: true},
	{words: "COMPUTE POOL", object: ObjectOther, category: CategoryDefine},
	{words: "SERVICE", object: ObjectOther, category: CategoryDefine, code: true},
	{words: "JOB SERVICE", object: ObjectOther, category: CategoryDefine, code: true},
	{words: "IMAGE REPOSITORY", object: ObjectOther, category: CategoryDefine, listed: "IMAGE REPOSITORIES"},
	{words: "GIT REPOSITORY", object: ObjectStage, category: CategoryDefine, listed: "GIT REPOSITORIES"},
	{words: "GIT BRANCH", object: ObjectStage, category: CategoryDefine, listed: "GIT BRANCHES"},
	{words: "GIT TAG", object: ObjectStage, category: CategoryDefine},
	{words: "STREAMLIT", object: ObjectOther, category: CategoryDefine, code: true},
	{words: "NOTEBOOK", object: ObjectOther, category: CategoryDefine, code: true},
	{words: "WORKSPACE", object: ObjectOther, category: CategoryDefine, code: true},
	{words: "CORTEX SEARCH SERVICE", object: ObjectOther, category: CategoryDefine, code: true},
	{words: "CORTEX SEARCH", object: ObjectOther, category: CategoryDefine, code: true, listed: "CORTEX SEARCH SERVICES"},
	{words: "AGENT", object: ObjectOther, category: CategoryDefine, code: true},
	{words: "MCP SERVER", object: ObjectOther, category: CategoryDefine, code: true},
	{words: "MODEL", object: ObjectOther, category: CategoryDefine, code: true},
	{words: "MODEL MONITOR", object: ObjectOther, category: CategoryDefine},
	{words: "DATASET", object: ObjectOther, category: CategoryDefine},
	{words: "DBT PROJECT", object: ObjectOther, category: CategoryDefine, code: true},
	{words: "DCM PROJECT", object: ObjectOther, category: CategoryDefine, code: true},
	{words: "SNAPSHOT", object: ObjectOther, category: CategoryDefine},
	{words: "SNAPSHOT SET", object: ObjectOther, category: CategoryDefine},
	{words: "SNAPSHOT POLICY", object: ObjectOther, category: CategoryDefine, listed: "SNAPSHOT POLICIES"},
	{words: "BACKUP SET", object: ObjectOther, category: CategoryDefine},
	{words: "BACKUP POLICY", object: ObjectOther, category: CategoryDefine, listed: "BACKUP POLICIES"},
	{words: "CONTACT", object: ObjectOther, category: CategoryDefine, private: true},
	{words: "PROVISIONED THROUGHPUT", object: ObjectOther, category: CategoryDefine},
	{words: "POSTGRES INSTANCE", object: ObjectOther, category: CategoryDefine},
	{words: "BUDGET", object: ObjectOther, category: CategoryDefine},
	{words: "SESSION", object: ObjectOther, category: CategoryUnknown},
}

var objectTypeByWords = func() map[string]*objectType {
	m := make(map[string]*objectType, len(objectTypes))
	for i := range objectTypes {
		m[objectTypes[i].words] = &objectTypes[i]
	}
	return m
}()

// shownTypes maps what SHOW takes to its rule: the plurals of objectTypes, and
// lists that are no objects.
var shownTypes = func() map[string]commandRule {
	m := map[string]commandRule{}
	add := func(words, reason string) {
		m[words] = commandRule{kind: kindOf("SHOW", words), category: CategoryMetadata, reason: reason}
	}
	for i := range objectTypes {
		t := &objectTypes[i]
		words := t.listed
		if words == "" {
			words = t.words + "S"
		}
		reason := ""
		if t.private {
			reason = "the list may hold personal data of users"
		}
		add(words, reason)
	}
	for _, words := range [...]string{"COLUMNS", "OBJECTS", "PARAMETERS", "GRANTS", "FUTURE GRANTS", "LOCKS", "TRANSACTIONS",
		"PRIMARY KEYS", "UNIQUE KEYS", "IMPORTED KEYS", "EXPORTED KEYS", "REGIONS", "USER FUNCTIONS", "BUILTIN FUNCTIONS",
		"USER PROCEDURES", "VERSIONS", "VERSIONS IN DATASET", "CHANNELS", "TABLES", "IMAGES", "CLASSES", "ENTITLEMENTS",
		"SEMANTIC DIMENSIONS", "SEMANTIC METRICS", "SEMANTIC FACTS", "RELEASE CHANNELS", "RELEASE DIRECTIVES", "ENDPOINTS", "ACCOUNTS",
		"ORGANIZATION ACCOUNTS", "DEPENDENT OBJECTS", "REPLICATION ACCOUNTS", "REPLICATION DATABASES", "MATERIALIZATIONS", "GLOBAL ACCOUNTS",
		"DATABASES", "CONSTRAINTS", "PRIVILEGES", "TELEMETRY EVENT DEFINITIONS", "SERVICE CONTAINERS", "SERVICE INSTANCES"} {
		add(words, "")
	}
	add("DELEGATED AUTHORIZATIONS", "the list may hold personal data of users")
	add("VARIABLES", "session variables may hold any data")
	delete(m, "SESSIONS")
	return m
}()

func kindOf(verb, words string) Kind {
	b := make([]byte, 0, len(verb)+1+len(words))
	b = append(append(append(b, verb...), '_'), words...)
	for i := range b {
		if b[i] == ' ' {
			b[i] = '_'
		}
	}
	return Kind(b)
}

// typeModifiers may stand between CREATE, ALTER, DROP, SHOW and the type.
func typeModifier(w string) bool {
	switch w {
	case "OR", "REPLACE", "ALTER", "TEMP", "TEMPORARY", "TRANSIENT", "VOLATILE", "SECURE", "LOCAL", "GLOBAL", "RECURSIVE", "TERSE",
		"SCOPED", "PRIVATE", "READ", "ONLY", "VERSIONED", "IF", "NOT", "EXISTS", "UNIQUE", "PRIMARY":
		return true
	}
	return false
}

// harmlessParameter tells whether ALTER SESSION of a parameter changes only
// how a session behaves towards its own client. Parameters that change which
// names, texts or results mean what (SEARCH_PATH, QUOTED_IDENTIFIERS_IGNORE_CASE,
// MULTI_STATEMENT_COUNT, …_RESULT_FORMAT) are not, nor is one not known here.
func harmlessParameter(p string) bool {
	switch p {
	case "ABORT_DETACHED_QUERY", "AUTOCOMMIT", "BINARY_INPUT_FORMAT", "BINARY_OUTPUT_FORMAT",
		"CLIENT_METADATA_REQUEST_USE_CONNECTION_CTX", "CLIENT_SESSION_KEEP_ALIVE", "CLIENT_SESSION_KEEP_ALIVE_HEARTBEAT_FREQUENCY",
		"CLIENT_TIMESTAMP_TYPE_MAPPING", "CLIENT_RESULT_COLUMN_CASE_INSENSITIVE", "CLIENT_PREFETCH_THREADS", "CLIENT_MEMORY_LIMIT",
		"DATE_INPUT_FORMAT", "DATE_OUTPUT_FORMAT", "ERROR_ON_NONDETERMINISTIC_MERGE", "ERROR_ON_NONDETERMINISTIC_UPDATE",
		"GEOGRAPHY_OUTPUT_FORMAT", "GEOMETRY_OUTPUT_FORMAT", "JSON_INDENT", "LOCK_TIMEOUT", "QUERY_TAG", "ROWS_PER_RESULTSET",
		"STATEMENT_QUEUED_TIMEOUT_IN_SECONDS", "STATEMENT_TIMEOUT_IN_SECONDS", "STRICT_JSON_OUTPUT",
		"TIMESTAMP_DAY_IS_ALWAYS_24H", "TIMESTAMP_INPUT_FORMAT", "TIMESTAMP_LTZ_OUTPUT_FORMAT", "TIMESTAMP_NTZ_OUTPUT_FORMAT",
		"TIMESTAMP_OUTPUT_FORMAT", "TIMESTAMP_TYPE_MAPPING", "TIMESTAMP_TZ_OUTPUT_FORMAT", "TIMEZONE", "TIME_INPUT_FORMAT",
		"TIME_OUTPUT_FORMAT", "TRANSACTION_DEFAULT_ISOLATION_LEVEL", "TWO_DIGIT_CENTURY_START",
		"UNSUPPORTED_DDL_ACTION", "USE_CACHED_RESULT", "WEEK_OF_YEAR_POLICY", "WEEK_START":
		return true
	}
	return false
}
