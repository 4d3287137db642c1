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
