using System.Reflection;
using Explorer.Scheduling;
using Explorer.Worker;
using Harness;
using Harness.Stages;
using Microsoft.Coyote.Rewriting;

namespace Concurrency;

/// <summary>On an assembly that is not rewritten every test of schedules passes and means nothing.</summary>
public sealed class RewritingGuard
{
    public static TheoryData<string> ControlledAssemblies => [.. Metadata("ControlledAssemblies").Split(';')];

    [Theory]
    [MemberData(nameof(ControlledAssemblies))]
    public void A_controlled_assembly_is_rewritten(string file) =>
        Assert.True(Controlled.IsRewritten(Assembly.LoadFrom(Path.Combine(AppContext.BaseDirectory, file))), $"{file} is as the compiler made it");

    [Theory]
    [MemberData(nameof(ControlledAssemblies))]
    public void A_controlled_assembly_tells_the_scheduler_nothing_past_the_gates(string file) =>
        Assert.Equal(0, GateFitter.CountWithout(Path.Combine(AppContext.BaseDirectory, file)));

    [Theory]
    [InlineData(Strategy.QLearning, true)]
    [InlineData(Strategy.Random, false)]
    [InlineData(Strategy.PartialOrderSampling, false)]
    public void Methods_are_told_to_the_strategy_that_takes_them_for_state(Strategy strategy, bool areTold)
    {
        int told = 0;
        Controlled.Explore(new(strategy, 1, 1), _ => Task.Run(() => told = CountAfterACall()).Wait());
        Assert.Equal(areTold, told != 0);
    }

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

    private static int CountAfterACall()
    {
        Called();
        return ToldMethods.Count();
    }

    private static void Called()
    {
    }

    private static string Metadata(string name) =>
        typeof(RewritingGuard).Assembly.GetCustomAttributes<AssemblyMetadataAttribute>().Single(data => data.Key == name).Value!;

    /// <summary>Looks into the scheduler.</summary>
    [SkipRewriting("It looks on.")]
    private static class ToldMethods
    {
        private const BindingFlags Hidden = BindingFlags.Static | BindingFlags.Instance | BindingFlags.NonPublic;

        /// <summary>How many methods the calling task has told the scheduler of.</summary>
        public static int Count()
        {
            object task = typeof(Microsoft.Coyote.Runtime.Operation).Assembly.GetType("Microsoft.Coyote.Runtime.CoyoteRuntime")!
                .GetField("ExecutingOperation", Hidden)!.GetValue(null)!;
            return ((ICollection<string>)task.GetType().GetField("VisitedCallSites", Hidden)!.GetValue(task)!).Count;
        }
    }
}
