using System.Reflection;
using Explorer.Scheduling;
using Harness;
using Harness.Stages;

namespace Concurrency;

/// <summary>On an assembly that is not rewritten every test of schedules passes and means nothing.</summary>
public sealed class RewritingGuard
{
    public static TheoryData<string> ControlledAssemblies => [.. Metadata("ControlledAssemblies").Split(';')];

    [Theory]
    [MemberData(nameof(ControlledAssemblies))]
    public void A_controlled_assembly_is_rewritten(string file) =>
        Assert.True(Controlled.IsRewritten(Assembly.LoadFrom(Path.Combine(AppContext.BaseDirectory, file))), $"{file} is as the compiler made it");

    [Fact]
    public void An_assembly_that_is_not_rewritten_is_seen() => Assert.False(Controlled.IsRewritten(typeof(BadInputException).Assembly));

    [Fact]
    public void A_worker_that_is_not_rewritten_refuses_to_run()
    {
        var stage = new ScheduleStage(Metadata("OriginalWorker"));
        Assert.Null(stage.Missing);
        var refusal = Assert.Throws<InvalidOperationException>(() => stage.Run(Context.For(TimeSpan.FromSeconds(20))));
        Assert.Contains("is not rewritten", refusal.Message);
    }

    private static string Metadata(string name) =>
        typeof(RewritingGuard).Assembly.GetCustomAttributes<AssemblyMetadataAttribute>().Single(data => data.Key == name).Value!;
}
