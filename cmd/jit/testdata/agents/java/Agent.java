import java.io.File;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.SQLException;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Properties;
import net.snowflake.client.api.driver.SnowflakeDriver;
// The driver's jar carries Jackson; the agent reads and writes JSON with it.
import net.snowflake.client.jdbc.internal.fasterxml.jackson.databind.JsonNode;
import net.snowflake.client.jdbc.internal.fasterxml.jackson.databind.ObjectMapper;
import net.snowflake.client.jdbc.internal.fasterxml.jackson.databind.node.ArrayNode;
import net.snowflake.client.jdbc.internal.fasterxml.jackson.databind.node.ObjectNode;

/**
 * The Java half of the end-to-end suite: an agent that knows nothing of jit.
 *
 * <p>It connects by the connection file, as a program does that relies on it, and runs the steps it
 * is given, one JSON line of outcome each. Steps and lines are those of goagent.
 *
 * <p>Usage: java Agent JSON|ARROW STEPS.json
 */
public final class Agent {
  private static final ObjectMapper JSON = new ObjectMapper();

  public static void main(String[] args) throws Exception {
    Properties wanted = new Properties();
    wanted.put("JDBC_QUERY_RESULT_FORMAT", args[0]);
    JsonNode steps = JSON.readTree(new File(args[1]));
    System.out.println(JSON.writeValueAsString(JSON.createObjectNode().put("about", about())));
    Connection connection = null;
    for (int i = 0; i < steps.size(); i++) {
      JsonNode step = steps.get(i);
      ObjectNode line = JSON.createObjectNode();
      line.put("step", i).put("sql", step.path("sql").asText());
      long began = System.nanoTime();
      try {
        if (connection == null) {
          connection = DriverManager.getConnection("jdbc:snowflake:auto?connectionName=default", wanted);
        }
        query(connection, step, line);
      } catch (SQLException e) {
        ObjectNode error = line.putObject("error");
        error.put("code", e.getErrorCode() > 0 ? String.format(Locale.ROOT, "%06d", e.getErrorCode()) : "");
        error.put("sqlstate", e.getSQLState() == null ? "" : e.getSQLState());
        error.put("message", String.valueOf(e.getMessage()));
      }
      line.put("ms", (System.nanoTime() - began) / 1_000_000);
      System.out.println(JSON.writeValueAsString(line));
      System.out.flush();
    }
    if (connection != null) {
      connection.close();
    }
    System.exit(0); // the driver leaves threads behind
  }

  private static String about() {
    return "snowflake-jdbc " + SnowflakeDriver.class.getPackage().getImplementationVersion();
  }

  private static void query(Connection connection, JsonNode step, ObjectNode line) throws SQLException {
    try (PreparedStatement statement = connection.prepareStatement(step.path("sql").asText())) {
      JsonNode binds = step.path("binds");
      for (int i = 0; i < binds.size(); i++) {
        if (binds.get(i).isNumber()) {
          statement.setLong(i + 1, binds.get(i).asLong());
        } else {
          statement.setString(i + 1, binds.get(i).isNull() ? null : binds.get(i).asText());
        }
      }
      ArrayNode columns = JSON.createArrayNode();
      ArrayNode rows = JSON.createArrayNode();
      if (statement.execute()) {
        try (ResultSet result = statement.getResultSet()) {
          List<String> names = new ArrayList<>();
          ResultSetMetaData about = result.getMetaData();
          for (int c = 1; c <= about.getColumnCount(); c++) {
            names.add(about.getColumnLabel(c));
            columns.addObject().put("name", about.getColumnLabel(c)).put("type", about.getColumnTypeName(c));
          }
          while (result.next()) {
            ArrayNode row = rows.addArray();
            for (int c = 1; c <= names.size(); c++) {
              row.add(result.getString(c));
            }
          }
        }
      }
      line.set("columns", columns);
      line.set("rows", rows);
    }
  }
}
