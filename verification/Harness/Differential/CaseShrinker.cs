using System.Collections.Immutable;

namespace Harness.Differential;

/// <summary>Leaves out of a case what the difference does not need: parts of it, then single steps; then makes numbers plain.</summary>
internal sealed class CaseShrinker(Func<FuzzCase, CaseResult> run, CancellationToken stop)
{
    // A difference is printed within seconds, or as small as it has become.
    private const int MostRuns = 1500;
    private int _left = MostRuns;

    /// <summary>The smallest case found with a difference of the same kind.</summary>
    public (FuzzCase Case, CaseResult Result) Shrink(FuzzCase failing, CaseResult result)
    {
        (FuzzCase Case, CaseResult Result) best = (Cut(failing, result), result);

        // What an invalidation covers depends on the tables; where all may be invalidated as well the tables can change.
        for (int i = 0; i < best.Case.Steps.Length; i++)
        {
            if (best.Case.Steps[i] is FuzzStep.Cover) Try(best.Case with { Steps = best.Case.Steps.SetItem(i, new FuzzStep.Settle()) }, result, ref best);
        }

        for (int length = Math.Max(1, best.Case.Steps.Length / 2); ; length /= 2)
        {
            bool isSmaller;
            do
            {
                isSmaller = false;
                for (int at = best.Case.Steps.Length - length; at >= 0; at -= length)
                {
                    if (!Try(best.Case with { Steps = best.Case.Steps.RemoveRange(at, length) }, result, ref best)) continue;
                    isSmaller = true;
                    at = Math.Min(at, best.Case.Steps.Length);
                }
            }
            while (isSmaller && length == 1);

            if (length == 1) break;
        }

        Try(best.Case with { Caches = new(1, 4, 4, 4, 4) }, result, ref best);
        for (int i = 0; i < best.Case.Steps.Length; i++)
        {
            foreach (FuzzStep plainer in Plainer(best.Case.Steps[i]))
            {
                if (Try(best.Case with { Steps = best.Case.Steps.SetItem(i, plainer) }, result, ref best)) break;
            }
        }

        return best;
    }

    private static FuzzCase Cut(FuzzCase failing, CaseResult result) =>
        failing with { Steps = failing.Steps[..Math.Min(failing.Steps.Length, result.Difference!.Step + 1)] };

    private static IEnumerable<FuzzStep> Plainer(FuzzStep step)
    {
        switch (step)
        {
            case FuzzStep.Access access:
                yield return access with { Iova = access.Iova & ~0xFFFUL };
                break;
            case FuzzStep.Cover:
                yield return new FuzzStep.Settle();
                break;
            case FuzzStep.Set set:
                yield return set with { Value = set.Value & 0xF_FFFF_FFFF_F083 };
                yield return set with { Value = set.Value & 0xF_FFFF_FFFF_F003 };
                break;
        }
    }

    /// <summary>
    /// Whether accesses begin when all is invalidated, and each entry that an invalidation covers has been stored: else what is
    /// found would be another mistake, the case's own.
    /// </summary>
    private static bool IsSound(FuzzCase candidate)
    {
        bool isSettled = false;
        var stored = new HashSet<ulong>();
        foreach (FuzzStep step in candidate.Steps)
        {
            switch (step)
            {
                case FuzzStep.Set set: stored.Add(set.Address & ~0x3FUL); break;
                case FuzzStep.Settle or FuzzStep.SetRoot: isSettled = true; break;
                case FuzzStep.Access when !isSettled: return false;
                case FuzzStep.Cover cover when !cover.Changed.All(word => stored.Contains(word & ~0x3FUL)): return false;
                default: break;
            }
        }

        return true;
    }

    private bool Try(FuzzCase candidate, CaseResult wanted, ref (FuzzCase Case, CaseResult Result) best)
    {
        if (!IsSound(candidate)) return false;
        if (_left <= 0 || stop.IsCancellationRequested || candidate.Steps.SequenceEqual(best.Case.Steps) && candidate.Caches == best.Case.Caches) return false;
        _left--;
        CaseResult result = run(candidate);
        if (result.Difference?.Invariant != wanted.Difference!.Invariant || result.Difference.Machine != wanted.Difference.Machine) return false;
        best = (Cut(candidate, result), result);
        return true;
    }
}
