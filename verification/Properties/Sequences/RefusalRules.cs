using System.Text.RegularExpressions;
using Mono.Cecil;
using Mono.Cecil.Cil;
using Vcmm.Spec;

namespace Properties.Sequences;

/// <summary>A reason for which the model wants a call refused.</summary>
/// <param name="Guards">What is broken if it is done all the same.</param>
/// <param name="Why">The reason.</param>
public sealed record RefusalRule(Invariant Guards, string Why)
{
    /// <summary>All that the compiled model has.</summary>
    public static IReadOnlyList<RefusalRule> All { get; } = [.. Read().Distinct().OrderBy(static rule => rule.Guards).ThenBy(static rule => rule.Why, StringComparer.Ordinal)];

    // The last two arguments of a call of Refusals.Must are the invariant and the reason, and both are constants.
    private static IEnumerable<RefusalRule> Read()
    {
        using AssemblyDefinition model = AssemblyDefinition.ReadAssembly(typeof(World).Assembly.Location);
        foreach (MethodDefinition method in model.MainModule.GetTypes().SelectMany(static type => type.Methods).Where(static method => method.HasBody))
        {
            foreach (Instruction call in method.Body.Instructions.Where(static instruction => instruction.Operand is MethodReference { Name: "Must", DeclaringType.Name: "Refusals" }))
                yield return new((Invariant)ConstantOf(call.Previous.Previous), (string)call.Previous.Operand);
        }
    }

    private static int ConstantOf(Instruction load) => load.OpCode.Code switch
    {
        >= Code.Ldc_I4_0 and <= Code.Ldc_I4_8 => load.OpCode.Code - Code.Ldc_I4_0,
        Code.Ldc_I4_S => (sbyte)load.Operand,
        _ => (int)load.Operand,
    };
}

/// <summary>The sentences with which the model refuses what was seen, in pieces.</summary>
internal static partial class ModelSentences
{
    // Shorter ones are in several.
    private const int LeastLength = 12;

    /// <summary>The constant pieces of what the compiled model says, but for the reasons of <see cref="RefusalRule"/> and for what it throws.</summary>
    public static IReadOnlyList<string> Pieces { get; } = [.. Read().Distinct().Except(RefusalRule.All.Select(static rule => rule.Why)).Order(StringComparer.Ordinal)];

    [GeneratedRegex(@"\{\d+(?::\w+)?\}")]
    private static partial Regex Place();

    private static IEnumerable<string> Read()
    {
        using AssemblyDefinition model = AssemblyDefinition.ReadAssembly(typeof(World).Assembly.Location);
        foreach (TypeDefinition type in model.MainModule.GetTypes().Where(static type => type.Name == nameof(World) || type.DeclaringType?.Name == nameof(World) || type.Name == "Refusals"))
        {
            foreach (Instruction instruction in type.Methods.Where(static method => method.HasBody && method.Name is not ("ToString" or "PrintMembers" or "JudgeCall")).SelectMany(static method => method.Body.Instructions))
            {
                // Most are formats: what stands between the places for values is constant.
                if (instruction.Operand is not string text) continue;
                foreach (string piece in Place().Split(text))
                {
                    if (piece.Length >= LeastLength) yield return piece;
                }
            }
        }
    }
}
