"""Validates the JSON lines of standard input against the published schema of OCSF
1.3.0, class datastore_activity, and prints what is wrong, one line each."""
import json, sys
import jsonschema, ocsf_json_schema as ocsf

schema = ocsf.OcsfJsonSchemaEmbedded(ocsf.get_ocsf_schema(version="1.3.0"))
name = schema.lookup_class_name_from_uid(6005)
checks = jsonschema.Draft202012Validator(schema.get_class_schema(name))
for n, line in enumerate(sys.stdin):
    for wrong in checks.iter_errors(json.loads(line)):
        print(n, "/".join(map(str, wrong.absolute_path)), wrong.message[:200])
