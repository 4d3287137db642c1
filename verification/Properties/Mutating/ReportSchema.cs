using System.Text.Json.Nodes;
using Json.Schema;

namespace Properties.Mutating;

/// <summary>The standard schema of mutation testing reports.</summary>
internal static class ReportSchema
{
    private static readonly JsonSchema Schema = Read();

    /// <summary>Fails with each place that is not as the schema says.</summary>
    public static void Check(JsonNode report)
    {
        EvaluationResults results = Schema.Evaluate(report, new EvaluationOptions { OutputFormat = OutputFormat.List });
        IEnumerable<string> wrong = results.Details.Where(static detail => detail.HasErrors).SelectMany(static detail => detail.Errors!.Select(error => $"{detail.InstanceLocation}: {error.Value}"));
        Assert.Empty(wrong);
        Assert.True(results.IsValid);
    }

    private static JsonSchema Read()
    {
        using Stream stream = typeof(ReportSchema).Assembly.GetManifestResourceStream("schema/mutation-testing-report-schema.json")!;
        using var reader = new StreamReader(stream);
        return JsonSchema.FromText(reader.ReadToEnd());
    }
}
