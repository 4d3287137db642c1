using CsCheck;

namespace Harness.Generating;

/// <summary>
/// Properties of generated values, the same values in each run. CsCheck's own <c>Sample</c> takes the seed for its first value only and draws
/// the others anew each time, so whether it fails may change from run to run.
/// </summary>
public static class Seeded
{
    private const int TriesForSmaller = 1000;

    private static long s_checks;

    /// <summary>How often in this process something was checked of values that are drawn: a test during which it grows is a property.</summary>
    public static long CheckCount => Volatile.Read(ref s_checks);

    /// <summary>Checks that something holds of values that are drawn from a seed, on the calling thread.</summary>
    /// <param name="gen">What draws values.</param>
    /// <param name="count">How many.</param>
    /// <param name="holds">Throws where it does not.</param>
    /// <param name="seed">Value i is drawn from the stream i of this seed.</param>
    /// <exception cref="CsCheckException">
    /// It does not hold of a value. The message has the seed of CsCheck that draws that value, or a smaller one of which it does not hold
    /// either; which smaller one is found may change from run to run, whether one value fails does not.
    /// </exception>
    public static void ForAll<T>(this Gen<T> gen, int count, Action<T> holds, ulong seed = 1)
    {
        Interlocked.Increment(ref s_checks);
        for (uint i = 0; i < count; i++)
        {
            T value = gen.Generate(new PCG(i, seed), null, out _);
            try
            {
                holds(value);
            }
            catch (Exception failure)
            {
                // The first value that it draws is this one.
                gen.Sample(holds, seed: new PCG(i, seed).ToString(), iter: TriesForSmaller, threads: 1);
                throw new CsCheckException($"It failed of value {i} of seed {seed}, and did not when that was tried again: the property is not deterministic.", failure);
            }
        }
    }

    /// <summary>The same for pairs.</summary>
    public static void ForAll<T1, T2>(this Gen<(T1, T2)> gen, int count, Action<T1, T2> holds, ulong seed = 1) =>
        gen.ForAll(count, value => holds(value.Item1, value.Item2), seed);

    /// <summary>The same for triples.</summary>
    public static void ForAll<T1, T2, T3>(this Gen<(T1, T2, T3)> gen, int count, Action<T1, T2, T3> holds, ulong seed = 1) =>
        gen.ForAll(count, value => holds(value.Item1, value.Item2, value.Item3), seed);
}
